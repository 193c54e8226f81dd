//! What all protocols to upstream servers can be told; each has these directives under a prefix of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemun_conf::Word;
use daemun_core::script::Script;
use daemun_core::settings;
use daemun_tls::suite::Version;

use super::cache;
use super::store::Place;
use super::tls::Built;
use crate::core::client::TempPath;
use crate::core::sending::Amount;
use crate::request::Request;
use crate::tls::computed::{Cache, Source};

bitflags::bitflags! {
    /// What makes a request go to the next server.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Failures: u32 {
        const ERROR = 1;
        const TIMEOUT = 1 << 1;
        const INVALID_HEADER = 1 << 2;
        const HTTP_500 = 1 << 3;
        const HTTP_502 = 1 << 4;
        const HTTP_503 = 1 << 5;
        const HTTP_504 = 1 << 6;
        const HTTP_403 = 1 << 7;
        const HTTP_404 = 1 << 8;
        const HTTP_429 = 1 << 9;
        /// Requests that may not be repeated otherwise are.
        const NON_IDEMPOTENT = 1 << 10;
        /// Said of caches only.
        const UPDATING = 1 << 11;
        const OFF = 1 << 12;
        /// No server is left to ask. It can't be configured.
        const NO_LIVE = 1 << 13;
    }

    /// Fields of responses that mean nothing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ignored: u32 {
        const ACCEL_REDIRECT = 1;
        const ACCEL_EXPIRES = 1 << 1;
        const ACCEL_LIMIT_RATE = 1 << 2;
        const ACCEL_BUFFERING = 1 << 3;
        const ACCEL_CHARSET = 1 << 4;
        const EXPIRES = 1 << 5;
        const CACHE_CONTROL = 1 << 6;
        const SET_COOKIE = 1 << 7;
        const VARY = 1 << 8;
        const AGE = 1 << 9;
    }
}

/// The address that connections to upstreams come from.
#[derive(Clone, Debug)]
pub struct Bind {
    pub address: BindAddress,
    /// The address may be another machine's: the client's.
    pub is_transparent: bool,
}

#[derive(Clone, Debug)]
pub enum BindAddress {
    Fixed(SocketAddr),
    Computed(Script),
}

/// One page.
const PAGE: usize = 4096;

settings! {
    #[derive(Clone)]
    pub struct Settings {
        bind: Option<Bind> = None,
        socket_keepalive: bool = false,
        /// 0: the system's.
        socket_rcvbuf: usize = 0,
        socket_sndbuf: usize = 0,
        connect_timeout: Duration = Duration::from_secs(60),
        send_timeout: Duration = Duration::from_secs(60),
        read_timeout: Duration = Duration::from_secs(60),
        next_upstream: Failures = Failures::ERROR.union(Failures::TIMEOUT),
        /// 0: as many as there are servers.
        next_upstream_tries: usize = 0,
        /// Zero: no limit.
        next_upstream_timeout: Duration = Duration::ZERO,
        request_buffering: bool = true,
        ignore_client_abort: bool = false,
        pass_request_headers: bool = true,
        pass_request_body: bool = true,
        buffering: bool = true,
        /// Responses may say whether they are buffered.
        change_buffering: bool = true,
        /// What has come is sent on as soon as nothing more is there.
        flush_idle: bool = true,
        buffer_size: usize = PAGE,
        /// Number and size.
        buffers: (usize, usize) = (8, PAGE),
        busy_buffers_size: Option<usize> = None,
        max_temp_file_size: Option<u64> = None,
        temp_file_write_size: Option<usize> = None,
        temp_path: Option<TempPath> = None,
        /// Bytes a second; 0 is no limit.
        limit_rate: Amount = Amount::Fixed(0),
        cache: cache::settings::Settings,
        store: Option<Place> = None,
        store_access: u32 = 0o600,
        force_ranges: bool = false,
        intercept_errors: bool = false,
        pass_trailers: bool = false,
        ignore_headers: Ignored = Ignored::empty(),
        hide_headers: Vec<Bytes> = Vec::new(),
        pass_headers: Vec<Bytes> = Vec::new(),
        ssl_session_reuse: bool = true,
        ssl_server_name: bool = false,
        /// `None`: the group's.
        ssl_name: Option<Script> = None,
        ssl_protocols: Vec<Version> = vec![Version::Tls12, Version::Tls13],
        ssl_ciphers: String = "DEFAULT".to_owned(),
        ssl_verify: bool = false,
        ssl_verify_depth: usize = 1,
        ssl_trusted_certificate: Option<Word> = None,
        ssl_crl: Option<Word> = None,
        ssl_certificate: Option<Source> = None,
        ssl_certificate_key: Option<Source> = None,
        ssl_certificate_cache: Option<Arc<Cache>> = None,
        ssl_password_file: Option<Word> = None,
        ssl_conf_commands: Vec<(Word, Word)> = Vec::new(),
        ssl_context: Built,
    }
}

impl Settings {
    /// What does not fit together, in nginx's words; `prefix` is `proxy_` and the like.
    pub fn check(&self, prefix: &str) -> Result<(), String> {
        self.cache.check(prefix)?;
        let (number, size) = *self.buffers;
        if number < 2 {
            return Err(format!("there must be at least 2 \"{prefix}buffers\""));
        }
        let most = size.max(*self.buffer_size);
        let busy = self.busy_buffers_size.unwrap_or(2 * most);
        let of_buffers = format!(
            "the maximum of the value of \"{prefix}buffer_size\" and one of the \"{prefix}buffers\""
        );
        if busy < most {
            return Err(format!(
                "\"{prefix}busy_buffers_size\" must be equal to or greater than {of_buffers}"
            ));
        }
        if busy > (number - 1) * size {
            return Err(format!(
                "\"{prefix}busy_buffers_size\" must be less than the size of all \"{prefix}buffers\" minus one buffer"
            ));
        }
        if self.temp_file_write_size.unwrap_or(2 * most) < most {
            return Err(format!(
                "\"{prefix}temp_file_write_size\" must be equal to or greater than {of_buffers}"
            ));
        }
        let in_file = self.most_in_file();
        if in_file != 0 && in_file < most as u64 {
            return Err(format!(
                "\"{prefix}max_temp_file_size\" must be equal to zero to disable temporary files usage or must be equal to or greater than {of_buffers}"
            ));
        }
        Ok(())
    }

    /// The folder that `temp_path` names, for the module's table.
    pub fn temporary(&self) -> Option<&Path> {
        self.temp_path.as_ref().map(|path| path.folder.as_path())
    }

    /// Where responses wait in files.
    pub fn temporary_folder<'a>(&'a self, request: &Request) -> &'a TempPath {
        let built_in = &request.config.surroundings.upstream_temp_path;
        self.temp_path.as_ref().unwrap_or(built_in)
    }

    /// Bytes of a response that may wait in memory.
    pub fn most_in_memory(&self) -> usize {
        self.buffers.0.saturating_mul(self.buffers.1)
    }

    /// Bytes of a response that may wait in a file.
    pub fn most_in_file(&self) -> u64 {
        self.max_temp_file_size.unwrap_or(1 << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check("proxy_").err().unwrap_or_default()
    }

    #[test]
    fn buffers_fit_together() {
        assert_eq!(complaint(|_| {}), "");
        assert_eq!(
            complaint(|settings| settings.buffers.replace((1, 4096))),
            "there must be at least 2 \"proxy_buffers\""
        );
        assert_eq!(
            complaint(|settings| settings.buffer_size.replace(64 << 10)),
            "\"proxy_busy_buffers_size\" must be less than the size of all \"proxy_buffers\" minus one buffer"
        );
        assert!(
            complaint(|settings| settings.max_temp_file_size.replace(Some(1)))
                .starts_with("\"proxy_max_temp_file_size\" must be equal to zero")
        );
        assert_eq!(complaint(|settings| settings.max_temp_file_size.replace(Some(0))), "");
    }
}
