//! `gunzip`: decompresses responses for clients that do not understand gzip.
//!
//! ```nginx
//! gzip_static always;
//! gunzip      on;
//! ```

use std::io;

use bytes::{Buf, Bytes};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, log, set, settings, values};
use daemun_http::body::Body;
use daemun_http::core::encoding;
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::Request;
use daemun_http::source::{self, MADE_AT_ONCE, Transform};
use daemun_http::status::Status;
use flate2::{Decompress, FlushDecompress};

use super::gzip::TAKES_AS_NEEDED;

settings! {
    pub struct Settings {
        is_on: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_gunzip_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "gunzip" in HTTP_SERVER_LOCATION, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Decompresses responses for clients that do not understand gzip.";
            "gunzip_buffers" in HTTP_SERVER_LOCATION, Exactly(2), "32 4k", TAKES_AS_NEEDED,
                "Accepted: memory is taken as it is needed.";
        },
    },
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).is_on,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let coding = request.response.encoding.as_ref();
    if !coding.is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip")) {
        return Ok(body);
    }
    request.response.varies_by_encoding = *request.settings(&encoding::SETTINGS).vary;
    if encoding::may_encode(request, b"gzip") {
        return Ok(body);
    }
    let response = &mut request.response;
    response.clear_encoding();
    response.rewrites_body();
    response.weaken_etag();
    let decoder = Decompress::new_gzip(15);
    let gunzip = Gunzip { decoder, has_ended: true, input: Bytes::new(), has_more: false };
    Ok(source::transformed(body, gunzip))
}

struct Gunzip {
    decoder: Decompress,
    /// Between two members, or before the first.
    has_ended: bool,
    /// What has yet to be decompressed.
    input: Bytes,
    /// There was no room for all output so far.
    has_more: bool,
}

impl Transform for Gunzip {
    fn feed(&mut self, request: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        if !input.is_empty() {
            self.input = input;
        }
        self.has_more = false;
        out.reserve_exact(MADE_AT_ONCE);
        loop {
            if self.has_ended {
                if self.input.is_empty() {
                    return Ok(());
                }
                self.decoder = Decompress::new_gzip(15);
                self.has_ended = false;
            }
            let before = self.decoder.total_in();
            let result = self.decoder.decompress_vec(&self.input, out, FlushDecompress::None);
            let status = result.map_err(|error| {
                log!(request.log(), Error, *request, "inflate() failed: {}", error);
                io::Error::other("the compressed response is malformed")
            })?;
            self.input.advance((self.decoder.total_in() - before) as usize);
            self.has_ended = status == flate2::Status::StreamEnd;
            if out.len() == out.capacity() {
                self.has_more = !self.has_ended || !self.input.is_empty();
                return Ok(());
            }
            if !self.has_ended && self.input.is_empty() {
                return Ok(());
            }
        }
    }

    fn has_more(&self) -> bool {
        self.has_more
    }

    fn finish(&mut self, request: &mut Request, _: &mut Vec<u8>) -> io::Result<()> {
        if self.has_ended {
            return Ok(());
        }
        log!(request.log(), Error, *request, "gunzip: unexpected end of compressed data");
        Err(io::Error::other("the compressed response is cut"))
    }
}
