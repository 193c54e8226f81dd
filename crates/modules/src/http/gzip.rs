//! `gzip`: compresses responses on their way out.
//!
//! ```nginx
//! gzip            on;
//! gzip_types      text/css application/json image/svg+xml;
//! gzip_min_length 1000;
//! gzip_proxied    any;
//! gzip_vary       on;
//! ```

use std::io;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::Fault;
use daemun_core::module::{Action, Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, HttpModule, Variable};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::source::{self, Transform};
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;
use flate2::{Compress, Compression, FlushCompress};

use super::compress::{self, Totals};

settings! {
    pub struct Settings {
        is_on: bool = false,
        types: TypeSet = TypeSet::html(),
        /// 1 to 9.
        level: u32 = 1,
        /// The window's size as a power of two.
        window_bits: u8 = 15,
        /// Bytes.
        min_length: usize = 20,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_gzip_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "gzip" in HTTP_TO_IF, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Compresses responses on their way out.";
            "gzip_types" in HTTP_SERVER_LOCATION, AtLeast(1), "", set_types!(SETTINGS.types),
                "Media types that are compressed besides text/html.";
            "gzip_comp_level" in HTTP_SERVER_LOCATION, Exactly(1), "1",
                set!(SETTINGS.level, |directive| values::integer_in(directive, 1, 9)),
                "How hard to compress: 1 is fastest, 9 shortest.";
            "gzip_min_length" in HTTP_SERVER_LOCATION, Exactly(1), "20",
                set!(SETTINGS.min_length, values::size),
                "The length from which on responses are compressed.";
            "gzip_window" in HTTP_SERVER_LOCATION, Exactly(1), "32k",
                set!(SETTINGS.window_bits, window_bits),
                "How far back repetitions are looked for.";
            "gzip_hash" in HTTP_SERVER_LOCATION, Exactly(1), "64k", Action::Checked(hash, DECIDES),
                "Accepted: the library sizes its tables by the level.";
            "gzip_buffers" in HTTP_SERVER_LOCATION, Exactly(2), "32 4k", TAKES_AS_NEEDED,
                "Accepted: memory is taken as it is needed.";
            "postpone_gzipping" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                Action::Checked(|directive| values::size(directive).map(drop), "memory is taken as it is needed"),
                "Accepted: memory is taken as it is needed.";
            "gzip_no_buffer" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Checked(|directive| values::flag(directive).map(drop), "memory is taken as it is needed"),
                "Accepted: memory is taken as it is needed.";
        },
    },
    variables: &[Variable::new("gzip_ratio", |r, _, out| compress::ratio(r, &SETTINGS, out))],
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).is_on,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

const DECIDES: &str = "the library sizes its tables by the level";

/// For the directives about buffers of filters.
pub(super) const TAKES_AS_NEEDED: Action = Action::Checked(
    |directive| values::buffers(directive).map(drop),
    "memory is taken as it is needed",
);

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if !compress::may_compress(request, &settings.types, *settings.min_length, "gzip") {
        return Ok(body);
    }
    let bits = fitting_window(*settings.window_bits, request.response.content_length);
    compress::announce(request, "gzip");
    let encoder = Compress::new_gzip(Compression::new(library_level(*settings.level)), bits);
    let gzip = Gzip { encoder, effort: effort(*settings.level), header: None };
    Ok(source::transformed(body, gzip))
}

/// The level of zlib-rs that is as strong as zlib's.
///
/// Its level 1 is faster than any of zlib's and makes bodies half as long again; 2 is what zlib calls 1. Level 3 falls
/// short of zlib's by 9 %, 4 takes no longer than it.
fn library_level(level: u32) -> u32 {
    match level {
        1 | 2 => 2,
        3 | 4 => 4,
        level => level,
    }
}

/// What the header says of the level (RFC 1952, `XFL`), in zlib's words: the library has none.
fn effort(level: u32) -> u8 {
    match level {
        1 => 4,
        9 => 2,
        _ => 0,
    }
}

/// A short body needs no wide window. 512 bytes are the least that the library has.
fn fitting_window(bits: u8, length: Option<u64>) -> u8 {
    let Some(length @ 1..) = length else {
        return bits;
    };
    let mut bits = bits;
    while bits > 9 && length < (1 << (bits - 1)) - 262 {
        bits -= 1;
    }
    bits
}

struct Gzip {
    encoder: Compress,
    effort: u8,
    /// Goes with what comes first behind it.
    header: Option<[u8; HEADER]>,
}

/// Bytes of a header without a name (RFC 1952, section 2.3).
const HEADER: usize = 10;

/// Where `XFL` stands in it.
const EFFORT: usize = 8;

/// How much room the output gets at a time.
const ROOM: usize = 16 * 1024;

impl Gzip {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend(self.header.take().into_iter().flatten());
    }

    fn compress(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        flush: FlushCompress,
    ) -> io::Result<()> {
        let start = out.len();
        let begins = self.encoder.total_out() == 0;
        loop {
            out.reserve(ROOM);
            let before = self.encoder.total_in();
            let status = self.encoder.compress_vec(input, out, flush).map_err(io::Error::other)?;
            input = &input[(self.encoder.total_in() - before) as usize..];
            let is_done = match flush {
                FlushCompress::Finish => status == flate2::Status::StreamEnd,
                _ => input.is_empty() && out.len() < out.capacity(),
            };
            if is_done {
                if begins && let Some(effort) = out.get_mut(start + EFFORT) {
                    *effort = self.effort;
                }
                return Ok(());
            }
        }
    }
}

impl Transform for Gzip {
    const HOLDS: bool = true;

    fn feed(&mut self, _: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        self.begin(out);
        self.compress(&input, out, FlushCompress::None)?;
        if self.encoder.total_out() == HEADER as u64 {
            self.header = out[start..].try_into().ok();
            out.truncate(start);
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.begin(out);
        self.compress(&[], out, FlushCompress::Sync)
    }

    fn finish(&mut self, request: &mut Request, out: &mut Vec<u8>) -> io::Result<()> {
        self.begin(out);
        self.compress(&[], out, FlushCompress::Finish)?;
        let totals = Totals { read: self.encoder.total_in(), written: self.encoder.total_out() };
        *request.context(&SETTINGS) = totals;
        Ok(())
    }
}

fn window_bits(directive: &conf::Directive) -> Result<u8, Fault> {
    let bits = power(directive, 9, 15);
    bits.ok_or_else(|| "must be 512, 1k, 2k, 4k, 8k, 16k, or 32k".into())
}

fn hash(directive: &conf::Directive) -> Result<(), Fault> {
    match power(directive, 9, 17) {
        Some(_) => Ok(()),
        None => Err("must be 512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k".into()),
    }
}

/// Which power of two a size is, between two of them.
fn power(directive: &conf::Directive, least: u8, most: u8) -> Option<u8> {
    let size = values::size(directive).ok()?;
    (least..=most).find(|bits| size == 1 << bits)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_header_is_zlibs() {
        for (level, told) in [(1, 4), (6, 0), (9, 2)] {
            let encoder = Compress::new_gzip(Compression::new(library_level(level)), 15);
            let mut gzip = Gzip { encoder, effort: effort(level), header: None };
            let mut out = Vec::new();
            gzip.compress(b"text", &mut out, FlushCompress::Finish).unwrap();
            assert_eq!(out[..HEADER], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, told, 3]);
        }
    }

    #[test]
    fn what_is_compressed_comes_back_whatever_its_pieces() {
        let text: Vec<u8> =
            (0..50_000u32).flat_map(|n| (n * n % 1009).to_string().into_bytes()).collect();
        for size in [1000, 7777, 300_000] {
            let encoder = Compress::new_gzip(Compression::new(2), 15);
            let mut gzip = Gzip { encoder, effort: 0, header: None };
            let mut out = Vec::new();
            for piece in text.chunks(size) {
                gzip.compress(piece, &mut out, FlushCompress::None).unwrap();
            }
            gzip.compress(&[], &mut out, FlushCompress::Finish).unwrap();
            assert!(out.len() < text.len());
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&out[..]).read_to_end(&mut back).unwrap();
            assert!(back == text, "pieces of {size}");
        }
    }

    #[test]
    fn windows_fit_short_bodies() {
        assert_eq!(fitting_window(15, None), 15);
        assert_eq!(fitting_window(15, Some(100_000)), 15);
        assert_eq!(fitting_window(15, Some(16_000)), 14);
        assert_eq!(fitting_window(15, Some(20)), 9);
    }
}
