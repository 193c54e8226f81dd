//! How HTTP/2 is spoken with clients (nginx's `ngx_http_v2_module`).

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::{directives, set, settings, values};
use daemun_proto::http2::{Config, FRAME_SIZE};

use super::listen;
use crate::config::Server;
use crate::module::{HttpModule, Variable};

settings! {
    pub struct Settings {
        is_on: bool = false,
        max_concurrent_streams: u32 = 128,
        extended_connect: bool = false,
        /// How much of a body a client may send before anybody reads it: bytes.
        body_preread_size: usize = 64 * 1024,
        /// The most that a frame carries of a response's body: bytes.
        chunk_size: usize = 8 * 1024,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

/// The largest window of a stream (RFC 9113, section 6.9.1).
const MOST_WINDOW: usize = (1 << 31) - 1;
/// The largest frame that there may be (RFC 9113, section 4.2).
const MOST_FRAME: usize = (1 << 24) - 1;

const AS_NEEDED: &str = "memory is taken as it is needed";

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_v2_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "http2" in HTTP_SERVER, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Speaks HTTP/2 with clients that ask for it.";
            "http2_extended_connect" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.extended_connect, values::flag),
                "Lets clients speak WebSocket over a stream of HTTP/2 (RFC 8441).";
            "http2_max_concurrent_streams" in HTTP_SERVER, Exactly(1), "128",
                set!(SETTINGS.max_concurrent_streams, values::integer),
                "How many requests of a connection are answered at a time.";
            "http2_body_preread_size" in HTTP_SERVER, Exactly(1), "64k",
                set!(SETTINGS.body_preread_size, preread_size),
                "How much of a request's body a client may send before it is read.";
            "http2_chunk_size" in HTTP_SERVER_LOCATION, Exactly(1), "8k",
                set!(SETTINGS.chunk_size, chunk_size),
                "The most that a frame carries of a response's body.";
            "http2_recv_buffer_size" in HTTP, Exactly(1), "256k",
                Action::Checked(|directive| values::size(directive).map(drop), AS_NEEDED),
                "Accepted: memory is taken as it is needed.";
            "http2_pool_size" in HTTP_SERVER, Exactly(1), "4k",
                Action::Checked(pool_size, AS_NEEDED),
                "Accepted: memory is taken as it is needed.";
            "http2_streams_index_size" in HTTP_SERVER, Exactly(1), "32",
                Action::Checked(index_size, AS_NEEDED),
                "Accepted: memory is taken as it is needed.";
            "http2_max_requests" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: keepalive_requests is asked instead.";
            "http2_max_field_size" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: large_client_header_buffers is asked instead.";
            "http2_max_header_size" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: large_client_header_buffers is asked instead.";
            "http2_recv_timeout" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: client_header_timeout is asked instead.";
            "http2_idle_timeout" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: keepalive_timeout is asked instead.";
            "http2_max_concurrent_pushes" in HTTP_SERVER, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: nothing is pushed.";
            "http2_push" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(obsolete),
                "Obsolete: nothing is pushed.";
            "http2_push_preload" in HTTP_SERVER_LOCATION, Flag, "", Action::Set(obsolete),
                "Obsolete: nothing is pushed.";
        },
    },
    variables: &[Variable::new("http2", |request, _, out| {
        let name: &[u8] = match (request.is_http2(), request.tls().is_some()) {
            (false, _) => return false,
            (true, true) => b"h2",
            (true, false) => b"h2c",
        };
        out.extend_from_slice(name);
        true
    })],
    ..HttpModule::EMPTY
};

/// Whether a server speaks HTTP/2: it says so itself, or with one of its addresses.
pub fn is_spoken(settings: &SettingsSet) -> bool {
    *settings.of(&SETTINGS).is_on
        || settings.of(&listen::SETTINGS).listens.0.iter().any(|listen| listen.http2)
}

/// What the connections of a server go by.
pub(crate) fn config_of(server: &Server) -> Config {
    let own = server.settings().of(&SETTINGS);
    let client = &server.location.core.client;
    let (count, size) = *client.large_header_buffers;
    let bound = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Config {
        max_concurrent_streams: *own.max_concurrent_streams,
        extended_connect: *own.extended_connect,
        stream_window: bound(*own.body_preread_size),
        header_limit: bound(count.saturating_mul(size)),
        longest_field: bound(size),
        // Longer frames make nothing quicker, but clients of nginx, which takes any length, send heads
        // and bodies in one frame. They are read as they come, so that their length costs nothing;
        // one that is longer than a stream's window can't be sent anyway.
        max_frame_size: bound(*own.body_preread_size).clamp(4 * FRAME_SIZE, MOST_FRAME as u32),
        // The host is counted beside those that HTTP/1 would have.
        max_fields: bound(*client.max_headers),
        underscores: *client.underscores_in_headers,
        ..Config::default()
    }
}

fn preread_size(directive: &conf::Directive) -> Result<usize, Fault> {
    match values::size(directive)? {
        ..=MOST_WINDOW => values::size(directive),
        _ => Err(format!("the maximum body preread buffer size is {MOST_WINDOW}").into()),
    }
}

fn chunk_size(directive: &conf::Directive) -> Result<usize, Fault> {
    match values::size(directive)? {
        0 => Err("the http2 chunk size cannot be zero".into()),
        size => Ok(size.min(MOST_FRAME)),
    }
}

fn pool_size(directive: &conf::Directive) -> Result<(), Fault> {
    match values::size(directive)? {
        ..256 => Err("the pool size must be no less than 256".into()),
        size if size % 16 != 0 => Err("the pool size must be a multiple of 16".into()),
        _ => Ok(()),
    }
}

fn index_size(directive: &conf::Directive) -> Result<(), Fault> {
    match values::integer::<u32>(directive)?.is_power_of_two() {
        true => Ok(()),
        false => Err("must be a power of two".into()),
    }
}

fn obsolete(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = &directive.name;
    let instead = match name.text.as_ref() {
        b"http2_max_requests" => Some("keepalive_requests"),
        b"http2_max_field_size" | b"http2_max_header_size" => Some("large_client_header_buffers"),
        b"http2_recv_timeout" => Some("client_header_timeout"),
        b"http2_idle_timeout" => Some("keepalive_timeout"),
        _ => None,
    };
    let sentence = match instead {
        Some(instead) => {
            format!("the \"{name}\" directive is obsolete, use the \"{instead}\" directive instead")
        }
        None => format!("the \"{name}\" directive is obsolete, ignored"),
    };
    loader.warn(directive.span, sentence);
    Ok(())
}
