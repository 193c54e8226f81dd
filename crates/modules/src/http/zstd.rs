//! `zstd`: compresses responses for clients that understand Zstandard (RFC 8878), with the directives of the well-known
//! third-party module for nginx.
//!
//! ```nginx
//! zstd        on;
//! zstd_types  text/css application/json;
//! zstd_static on;
//! ```

use std::io;

use daemun_conf as conf;
use daemun_core::load::Fault;
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, Handler, HttpModule, Phase, PhaseHandler, Variable};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;
use zstd::stream::write::Encoder;

use super::compress::{self, Encode, STATIC, Static};
use super::gzip::TAKES_AS_NEEDED;

settings! {
    pub struct Settings {
        is_on: bool = false,
        types: TypeSet = TypeSet::html(),
        level: i32 = 1,
        /// Bytes.
        min_length: usize = 20,
        files: Static = Static::Off,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_zstd_filter_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "zstd" in HTTP_TO_IF, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Compresses responses with Zstandard on their way out.";
            "zstd_types" in HTTP_SERVER_LOCATION, AtLeast(1), "", set_types!(SETTINGS.types),
                "Media types that are compressed besides text/html.";
            "zstd_comp_level" in HTTP_SERVER_LOCATION, Exactly(1), "1",
                set!(SETTINGS.level, level),
                "How hard to compress: 22 is shortest, negative levels are fastest.";
            "zstd_min_length" in HTTP_SERVER_LOCATION, Exactly(1), "20",
                set!(SETTINGS.min_length, values::size),
                "The length from which on responses are compressed.";
            "zstd_buffers" in HTTP_SERVER_LOCATION, Exactly(2), "32 4k", TAKES_AS_NEEDED,
                "Accepted: memory is taken as it is needed.";
        },
    },
    variables: &[Variable::new("zstd_ratio", |r, _, out| compress::ratio(r, &SETTINGS, out))],
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).is_on,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

/// Files that were compressed beforehand; apart, since files come before filters in the order of modules.
pub static FILES: HttpModule = HttpModule {
    base: Module {
        name: "http_zstd_static_module",
        settings: None,
        directives: directives! {
            "zstd_static" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                set!(SETTINGS.files, |directive| values::choice(directive, STATIC)),
                "Sends NAME.zst where it stands beside the file asked for.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| *settings.of(&SETTINGS).files != Static::Off,
        handler: Handler::Now(|request| {
            let mode = *request.settings(&SETTINGS).files;
            compress::send_beside(request, mode, "zstd", b".zst")
        }),
    }],
    ..HttpModule::EMPTY
};

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if !compress::may_compress(request, &settings.types, *settings.min_length, "zstd") {
        return Ok(body);
    }
    let encoder = match Encoder::new(Vec::new(), *settings.level) {
        Ok(encoder) => encoder,
        Err(error) => {
            log!(request.log(), Alert, *request, "ZSTD_initCStream() failed: {}", error);
            return Ok(body);
        }
    };
    compress::announce(request, "zstd");
    Ok(compress::encoded(body, encoder, &SETTINGS))
}

impl Encode for Encoder<'static, Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(self) -> io::Result<Vec<u8>> {
        self.finish()
    }
}

fn level(directive: &conf::Directive) -> Result<i32, Fault> {
    let level: i32 = match directive.args[0].as_str().ok().and_then(|text| text.parse().ok()) {
        Some(level) => level,
        None => return Err("invalid number".into()),
    };
    match zstd::compression_level_range().contains(&level) && level != 0 {
        true => Ok(level),
        false => Err("invalid value".into()),
    }
}
