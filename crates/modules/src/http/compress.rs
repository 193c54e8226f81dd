//! What the modules that compress responses have in common.

use std::io::{self, Write};

use bytes::Bytes;
use daemun_core::module::SettingsKey;
use daemun_core::{debug, log};
use daemun_http::body::Body;
use daemun_http::core::encoding;
use daemun_http::module::Step;
use daemun_http::request::{Request, Text};
use daemun_http::source::{self, Transform};
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;
use daemun_http::{file_cache, files};
use daemun_sys::allocator;

use super::{reads_only, static_files};

/// Bytes before and behind an encoder, kept once the body has passed it.
#[derive(Clone, Copy, Default)]
pub(super) struct Totals {
    pub read: u64,
    pub written: u64,
}

impl Totals {
    /// How many times shorter the body became, with two digits behind the point.
    pub fn append_ratio(self, out: &mut Vec<u8>) -> bool {
        if self.written == 0 {
            return false;
        }
        let hundredths = (self.read * 1000 / self.written + 5) / 10;
        out.extend_from_slice(format!("{}.{:02}", hundredths / 100, hundredths % 100).as_bytes());
        true
    }
}

/// An encoder that writes into memory.
pub(super) trait Encode: Write {
    /// What it has written and nobody has taken.
    fn written(&mut self) -> &mut Vec<u8>;

    /// Ends the body: what was left to write.
    fn end(self) -> io::Result<Vec<u8>>;
}

/// The body that an encoder makes of another; `module` keeps the totals for its ratio.
pub(super) fn encoded<T: 'static>(
    body: Body,
    encoder: impl Encode + 'static,
    module: &'static SettingsKey<T>,
) -> Body {
    let encoder = Some(encoder);
    source::transformed(body, Encoded { encoder, totals: Totals::default(), module })
}

struct Encoded<E, T: 'static> {
    /// `None` once it has ended.
    encoder: Option<E>,
    totals: Totals,
    module: &'static SettingsKey<T>,
}

impl<E: Encode, T> Encoded<E, T> {
    /// Has the encoder do something, and takes what it writes.
    fn advance(
        &mut self,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut E) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        step(encoder)?;
        let written = encoder.written();
        self.totals.written += written.len() as u64;
        out.append(written);
        Ok(())
    }
}

impl<E: Encode, T> Transform for Encoded<E, T> {
    const HOLDS: bool = true;

    fn feed(&mut self, _: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        self.totals.read += input.len() as u64;
        self.advance(out, |encoder| encoder.write_all(&input))
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.advance(out, E::flush)
    }

    fn finish(&mut self, request: &mut Request, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(encoder) = self.encoder.take() {
            let mut rest = encoder.end()?;
            self.totals.written += rest.len() as u64;
            out.append(&mut rest);
        }
        *request.context(self.module) = self.totals;
        Ok(())
    }
}

/// A module's `*_ratio` variable.
pub(super) fn ratio(request: &Request, key: &SettingsKey<impl Sized>, out: &mut Vec<u8>) -> bool {
    request.known_context(key).is_some_and(|totals: &Totals| totals.append_ratio(out))
}

/// Whether the response may be encoded with `coding`: one that is not, of a type that is meant and not too short, for
/// a client that understands it. Caches are told that it depends on the client.
pub(super) fn may_compress(
    request: &mut Request,
    types: &TypeSet,
    least: usize,
    coding: &str,
) -> bool {
    let response = &request.response;
    if !matches!(response.status, Status::OK | Status::FORBIDDEN | Status::NOT_FOUND)
        || response.content_length.is_some_and(|length| length < least as u64)
        || response.is_encoded()
        || !types.has(response)
        // An encoder takes up to 16 MB beside what is left; the response goes as it is.
        || allocator::is_low()
    {
        return false;
    }
    request.response.varies_by_encoding = *request.settings(&encoding::SETTINGS).vary;
    encoding::may_encode(request, coding.as_bytes())
}

/// Makes the head that of a body which is encoded on its way out.
pub(super) fn announce(request: &mut Request, coding: &'static str) {
    let response = &mut request.response;
    response.set_encoding(coding);
    response.rewrites_body();
    response.weaken_etag();
}

/// Whether files that were compressed beforehand are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Static {
    Off,
    /// To clients that understand them.
    On,
    Always,
}

pub(super) const STATIC: &[(&str, Static)] =
    &[("off", Static::Off), ("on", Static::On), ("always", Static::Always)];

/// Answers with the file beside the one asked for that has `extension` added to its name.
pub(super) fn send_beside(
    request: &mut Request,
    mode: Static,
    coding: &'static str,
    extension: &[u8],
) -> Step {
    if !reads_only(request) || request.uri.last() == Some(&b'/') {
        return Step::Declined;
    }
    let accepts = mode == Static::Always || encoding::may_encode(request, coding.as_bytes());
    let varies = *request.settings(&encoding::SETTINGS).vary;
    if !varies && !accepts {
        return Step::Declined;
    }
    let mut path = Vec::with_capacity(128);
    files::map_uri(request, &mut path);
    path.extend_from_slice(extension);
    debug!(request.log(), Http, *request, "http filename: \"{}\"", Text(&path));
    let known = match file_cache::find(request, &path) {
        Ok(known) => known,
        Err(error) => {
            use std::io::ErrorKind::*;
            if !matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) {
                files::refuse(request, &path, &error);
            }
            return Step::Declined;
        }
    };
    if mode == Static::On {
        request.response.varies_by_encoding = varies;
        if !accepts {
            return Step::Declined;
        }
    }
    if known.info.is_directory {
        return Step::Declined;
    }
    if !known.info.is_file {
        log!(request.log(), Crit, *request, "\"{}\" is not a regular file", Text(&path));
        return Step::Status(Status::NOT_FOUND);
    }
    request.root_tested = request.error_status == 0;
    let sent = static_files::send(request, &known);
    request.response.set_encoding(coding);
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded() {
        for (read, written, ratio) in
            [(1000, 400, "2.50"), (2, 3, "0.67"), (9996, 1000, "10.00"), (100, 100, "1.00")]
        {
            let mut out = Vec::new();
            assert!(Totals { read, written }.append_ratio(&mut out));
            assert_eq!(String::from_utf8(out).unwrap(), ratio);
        }
        assert!(!Totals::default().append_ratio(&mut Vec::new()));
    }
}
