//! `memcached_pass`: responses are values of a memcached server, under keys that the configuration makes.
//!
//! ```nginx
//! location / {
//!     set            $memcached_key "$uri?$args";
//!     memcached_pass 127.0.0.1:11211;
//!     error_page     404 502 504 = @fallback;
//! }
//!
//! location @fallback { return 404; }
//! ```

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::{Session, VariableId};
use daemun_core::{directives, set, settings, values};
use daemun_http::core::mime;
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::upstream::head::{Head, InvalidHead};
use daemun_http::upstream::payload::Payload;
use daemun_http::upstream::protocol::{HeadStep, InvalidBody, Piece, Protocol};
use daemun_http::upstream::settings::Settings as Common;
use daemun_http::upstream_directives;
use daemun_proto::http1::{HeaderLine, Method, Range};
use daemun_proto::memcached::{self, Body, Flaw, Reply};

use super::gateway::pass::{self, PassSetting};

settings! {
    pub struct Settings {
        common: Common,
        pass: PassSetting,
        /// `$memcached_key`.
        key: Option<VariableId> = None,
        /// Values with one of these flags are compressed by gzip.
        gzip_flag: u32 = 0,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_memcached_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "memcached_pass" in LOCATION | LOCATION_IF, Exactly(1), "",
                Action::Set(memcached_pass),
                "The memcached server, or group of servers, that has the responses.";
            "memcached_gzip_flag" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.gzip_flag, values::integer),
                "The flag of values that are compressed by gzip.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).pass.is_here(),
        handler: Handler::Later(again),
    }],
    passes: |settings| settings.of(&SETTINGS).pass.is_here(),
    ..HttpModule::EMPTY
};

/// What the module has in common with others to upstream servers.
pub static COMMON: HttpModule = HttpModule {
    base: Module {
        name: "http_memcached_module",
        settings: None,
        directives: upstream_directives!("memcached_", SETTINGS.common: connecting next_memcached),
    },
    ..HttpModule::EMPTY
};

fn memcached_pass(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let pass = pass::read_group(loader, directive, "")?;
    let key = loader.variables.refer("memcached_key", word.span);
    let settings = loader.settings(&SETTINGS);
    settings.pass.set(pass)?;
    settings.key.replace(Some(key));
    let common = &mut settings.common;
    common.buffering.replace(false);
    common.intercept_errors.replace(true);
    common.force_ranges.replace(true);
    common.pass_request_body.replace(false);
    Ok(())
}

fn again(request: &mut Request) -> Pending<'_> {
    Box::pin(handle(request))
}

async fn handle(request: &mut Request) -> Step {
    let settings = request.settings(&SETTINGS);
    let (Some(pass), true) = (settings.pass.value(), super::reads_only(request)) else {
        return Step::Status(Status::NOT_ALLOWED);
    };
    if let Err(status) = request.discard_available() {
        return Step::Status(status);
    }
    mime::set_type(request);
    let protocol = Box::new(Memcached {
        settings,
        key: Vec::new(),
        is_gzip: false,
        is_head: false,
        body: Body::none(),
    });
    pass::call(request, pass, &settings.common, "memcached://", protocol, again).await
}

/// A request for a value, and the value.
struct Memcached {
    settings: &'static Settings,
    /// As it stands in the request.
    key: Vec<u8>,
    is_gzip: bool,
    /// The value is not wanted.
    is_head: bool,
    body: Body,
}

/// The head of responses that are compressed.
const GZIP: &[u8] = b"Content-Encoding: gzip";

impl Memcached {
    fn tell(&self, request: &Request, flaw: Flaw, line: &[u8]) {
        let (line, key) = (Text(line.strip_suffix(b"\r").unwrap_or(line)), Text(&self.key));
        let what = match flaw {
            Flaw::Key => "key",
            Flaw::Flags => "flags",
            Flaw::Length => "length",
            Flaw::Response => {
                log!(
                    request.log(),
                    Error,
                    *request,
                    "memcached sent invalid response: \"{}\"",
                    line
                );
                return;
            }
        };
        log!(
            request.log(),
            Error,
            *request,
            "memcached sent invalid {} in response \"{}\" for key \"{}\"",
            what,
            line,
            key
        );
    }
}

impl Protocol for Memcached {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn write_request(
        &mut self,
        request: &mut Request,
        _payload: Payload,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let mut key = Vec::new();
        if let Some(id) = *self.settings.key {
            request.variable(id, &mut key);
        }
        if key.is_empty() {
            log!(request.log(), Error, *request, "the \"$memcached_key\" variable is not set");
            return Err(Status::INTERNAL_SERVER_ERROR);
        }
        self.key.clear();
        memcached::escape_key(&key, &mut self.key);
        memcached::get(&self.key, out);
        Ok(())
    }

    fn passes_body(&self) -> bool {
        false
    }

    fn begin_again(&mut self) {
        self.is_gzip = false;
        self.body = Body::none();
    }

    fn read_head(
        &mut self,
        request: &mut Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<HeadStep, InvalidHead> {
        let Some(length) = memchr::memchr(b'\n', received) else {
            return Ok(HeadStep::Incomplete { consumed: 0 });
        };
        let flag = u64::from(*self.settings.gzip_flag);
        let reply = memcached::reply(&received[..length], &self.key, flag != 0);
        match reply.map_err(|flaw| self.tell(request, flaw, &received[..length])) {
            Ok(Reply::Value { flags, length }) => {
                head.status = Status::OK.0;
                head.content_length = Some(length);
                self.body = Body::new(length);
                if flags & flag != 0 {
                    self.is_gzip = true;
                    let (name, value) = (Range::new(0, 16), Range::new(18, GZIP.len()));
                    head.add(request, GZIP, HeaderLine { name, value, is_odd: false })?;
                }
            }
            Ok(Reply::NotFound) => {
                let key = Text(&self.key);
                log!(request.log(), Info, *request, "key: \"{}\" was not found by memcached", key);
                head.status = Status::NOT_FOUND.0;
                head.content_length = Some(0);
                self.body = Body::none();
            }
            Err(()) => return Err(InvalidHead),
        }
        Ok(HeadStep::Done { consumed: length + 1 })
    }

    fn take_head_bytes(&mut self) -> Option<Bytes> {
        self.is_gzip.then_some(Bytes::from_static(GZIP))
    }

    fn begin_body(&mut self, request: &Request, _head: &Head) {
        self.is_head = request.head.method() == Method::Head;
    }

    fn read_body(
        &mut self,
        request: &mut Request,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Piece, InvalidBody> {
        if self.is_head {
            return Ok(Piece::End);
        }
        Ok(match self.body.next(input, at) {
            memcached::Step::Data(length) => Piece::Data(length),
            memcached::Step::Incomplete => Piece::Incomplete,
            memcached::Step::End => Piece::End,
            memcached::Step::InvalidTrailer => {
                self.tell_excess(request);
                Piece::End
            }
        })
    }

    fn tell_excess(&self, request: &Request) {
        log!(request.log(), Error, *request, "memcached sent invalid trailer");
    }

    fn expected(&self) -> Option<u64> {
        Some(self.body.expected())
    }

    fn ends_with_connection(&mut self) -> bool {
        false
    }

    fn keeps_connection(&self) -> bool {
        self.body.expected() == 0 && !self.is_head
    }

    fn intercepts_not_found(&self) -> bool {
        true
    }
}
