//! `brotli`: compresses responses for clients that understand Brotli (RFC 7932), with the directives of the well-known
//! third-party module for nginx.
//!
//! ```nginx
//! brotli        on;
//! brotli_types  text/css application/json;
//! brotli_static on;
//! ```

use std::io;

use brotli::CompressorWriter;
use daemun_conf as conf;
use daemun_core::load::Fault;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, Handler, HttpModule, Phase, PhaseHandler, Variable};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;

use super::compress::{self, Encode, STATIC, Static};
use super::gzip::TAKES_AS_NEEDED;

settings! {
    pub struct Settings {
        is_on: bool = false,
        types: TypeSet = TypeSet::html(),
        /// 0 to 11.
        level: u32 = 6,
        /// The window's size as a power of two.
        window_bits: u32 = 19,
        /// Bytes.
        min_length: usize = 20,
        files: Static = Static::Off,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_brotli_filter_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "brotli" in HTTP_TO_IF, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Compresses responses with Brotli on their way out.";
            "brotli_types" in HTTP_SERVER_LOCATION, AtLeast(1), "", set_types!(SETTINGS.types),
                "Media types that are compressed besides text/html.";
            "brotli_comp_level" in HTTP_SERVER_LOCATION, Exactly(1), "6",
                set!(SETTINGS.level, |directive| values::integer_in(directive, 0, 11)),
                "How hard to compress: 0 is fastest, 11 shortest.";
            "brotli_window" in HTTP_SERVER_LOCATION, Exactly(1), "512k",
                set!(SETTINGS.window_bits, window_bits),
                "How far back repetitions are looked for.";
            "brotli_min_length" in HTTP_SERVER_LOCATION, Exactly(1), "20",
                set!(SETTINGS.min_length, values::size),
                "The length from which on responses are compressed.";
            "brotli_buffers" in HTTP_SERVER_LOCATION, Exactly(2), "32 4k", TAKES_AS_NEEDED,
                "Accepted: memory is taken as it is needed.";
        },
    },
    variables: &[Variable::new("brotli_ratio", |r, _, out| compress::ratio(r, &SETTINGS, out))],
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).is_on,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

/// Files that were compressed beforehand; apart, since files come before filters in the order of modules.
pub static FILES: HttpModule = HttpModule {
    base: Module {
        name: "http_brotli_static_module",
        settings: None,
        directives: directives! {
            "brotli_static" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                set!(SETTINGS.files, |directive| values::choice(directive, STATIC)),
                "Sends NAME.br where it stands beside the file asked for.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| *settings.of(&SETTINGS).files != Static::Off,
        handler: Handler::Now(|request| {
            let mode = *request.settings(&SETTINGS).files;
            compress::send_beside(request, mode, "br", b".br")
        }),
    }],
    ..HttpModule::EMPTY
};

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if !compress::may_compress(request, &settings.types, *settings.min_length, "br") {
        return Ok(body);
    }
    compress::announce(request, "br");
    let (level, bits) = (*settings.level, *settings.window_bits);
    let encoder = CompressorWriter::new(Vec::new(), BUFFER, level, bits);
    Ok(compress::encoded(body, encoder, &SETTINGS))
}

const BUFFER: usize = 16 * 1024;

impl Encode for CompressorWriter<Vec<u8>> {
    fn written(&mut self) -> &mut Vec<u8> {
        self.get_mut()
    }

    fn end(self) -> io::Result<Vec<u8>> {
        Ok(self.into_inner())
    }
}

fn window_bits(directive: &conf::Directive) -> Result<u32, Fault> {
    let size = values::size(directive)?;
    let bits = (10..=24).find(|bits| size == 1 << bits);
    bits.ok_or_else(|| {
        "must be 1k, 2k, 4k, 8k, 16k, 32k, 64k, 128k, 256k, 512k, 1m, 2m, 4m, 8m or 16m".into()
    })
}
