//! The head of a request: its line and header fields, as offsets into the bytes that arrived.

use daemun_proto::http1::header::{HeaderLine, among};
use daemun_proto::http1::{Method, RequestLine, Version};

/// Fields that the server itself looks at, found while the head is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Known {
    Host,
    Connection,
    IfModifiedSince,
    IfUnmodifiedSince,
    IfMatch,
    IfNoneMatch,
    IfRange,
    Range,
    UserAgent,
    Referer,
    ContentLength,
    ContentRange,
    ContentType,
    TransferEncoding,
    Te,
    Expect,
    Upgrade,
    AcceptEncoding,
    Via,
    Authorization,
    ProxyAuthorization,
    XForwardedFor,
    Cookie,
}

const KNOWN: usize = Known::Cookie as usize + 1;

impl Known {
    fn of(name: &[u8]) -> Option<Known> {
        match name.len() {
            2 => among(name, [(b"te", Known::Te)]),
            3 => among(name, [(b"via", Known::Via)]),
            4 => among(name, [(b"host", Known::Host)]),
            5 => among(name, [(b"range", Known::Range)]),
            6 => among(name, [(b"cookie", Known::Cookie), (b"expect", Known::Expect)]),
            7 => among(name, [(b"referer", Known::Referer), (b"upgrade", Known::Upgrade)]),
            8 => among(name, [(b"if-range", Known::IfRange), (b"if-match", Known::IfMatch)]),
            10 => {
                among(name, [(b"user-agent", Known::UserAgent), (b"connection", Known::Connection)])
            }
            12 => among(name, [(b"content-type", Known::ContentType)]),
            13 => among(
                name,
                [
                    (b"authorization", Known::Authorization),
                    (b"if-none-match", Known::IfNoneMatch),
                    (b"content-range", Known::ContentRange),
                ],
            ),
            14 => among(name, [(b"content-length", Known::ContentLength)]),
            15 => among(
                name,
                [
                    (b"accept-encoding", Known::AcceptEncoding),
                    (b"x-forwarded-for", Known::XForwardedFor),
                ],
            ),
            17 => among(
                name,
                [
                    (b"if-modified-since", Known::IfModifiedSince),
                    (b"transfer-encoding", Known::TransferEncoding),
                ],
            ),
            19 => among(
                name,
                [
                    (b"if-unmodified-since", Known::IfUnmodifiedSince),
                    (b"proxy-authorization", Known::ProxyAuthorization),
                ],
            ),
            _ => None,
        }
    }

    /// A second field of this name makes the request ambiguous.
    fn is_unique(self) -> bool {
        use Known::*;
        matches!(
            self,
            Host | IfModifiedSince
                | IfUnmodifiedSince
                | IfMatch
                | IfNoneMatch
                | IfRange
                | ContentLength
                | ContentRange
                | TransferEncoding
                | Expect
                | Authorization
                | ProxyAuthorization
        )
    }
}

/// The head of a request.
#[derive(Default)]
pub struct RequestHead {
    /// Everything from the request line to the blank line, and what was received behind it.
    pub bytes: Vec<u8>,
    pub line: RequestLine,
    /// The fields that `ignore_invalid_headers` left.
    pub fields: Vec<HeaderLine>,
    known: [Option<u16>; KNOWN],
}

/// The field was there already, with this value.
pub struct Duplicate(pub HeaderLine);

impl RequestHead {
    pub fn reset(&mut self) {
        self.bytes.clear();
        self.clear_fields();
        self.line = RequestLine::default();
    }

    /// Forgets the fields, for a head that is read again from its beginning.
    pub fn clear_fields(&mut self) {
        self.fields.clear();
        self.known = [None; KNOWN];
    }

    /// The same head without what was received behind it.
    pub fn copy(&self, end: usize) -> RequestHead {
        RequestHead {
            bytes: self.bytes[..end].to_vec(),
            line: self.line,
            fields: self.fields.clone(),
            known: self.known,
        }
    }

    pub fn add(&mut self, field: HeaderLine) -> Result<(), Duplicate> {
        let position = self.fields.len();
        if let Some(known) = Known::of(field.name.of(&self.bytes)) {
            let slot = &mut self.known[known as usize];
            match *slot {
                None => *slot = u16::try_from(position).ok(),
                Some(first) if known.is_unique() => {
                    return Err(Duplicate(self.fields[usize::from(first)]));
                }
                Some(_) => {}
            }
        }
        self.fields.push(field);
        Ok(())
    }

    /// The value of the first field of that name.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        let position = self.known[known as usize]?;
        Some(self.fields[usize::from(position)].value.of(&self.bytes))
    }

    /// Names and values in the order they came.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }

    pub fn method(&self) -> Method {
        self.line.method
    }

    /// As the client sent it, whatever the server has made of it since.
    pub fn sent_method_name(&self) -> &[u8] {
        self.line.method_name.of(&self.bytes)
    }

    /// As the client spelt it, unless the server has made a GET of the request since.
    pub fn method_name(&self) -> &[u8] {
        match self.line.method {
            Method::Get => b"GET",
            _ => self.sent_method_name(),
        }
    }

    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The request line without its end.
    pub fn request_line(&self) -> &[u8] {
        self.line.line.of(&self.bytes)
    }

    /// The path of the target as it came, without query and fragment.
    pub fn target_path(&self) -> &[u8] {
        let target = self.target();
        let end = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
        &target[..end]
    }

    /// The target as it came, without scheme and authority.
    pub fn target(&self) -> &[u8] {
        match self.line.target.of(&self.bytes) {
            [] => b"/",
            target => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_found_in_any_case() {
        assert_eq!(Known::of(b"HOST"), Some(Known::Host));
        assert_eq!(Known::of(b"If-None-Match"), Some(Known::IfNoneMatch));
        assert_eq!(Known::of(b"x-forwarded-For"), Some(Known::XForwardedFor));
        for other in [&b"Hosts"[..], b"Hos_", b"If_None_Match", b"Accept-Encodin!", b"", b"Via2"] {
            assert_eq!(Known::of(other), None, "{other:?}");
        }
    }
}
