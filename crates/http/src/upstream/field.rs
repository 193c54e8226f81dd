//! The fields of an upstream's response that mean something to the server.

use daemun_proto::http1::header::among;

/// What a field is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    Status,
    ContentType,
    Date,
    LastModified,
    Etag,
    Server,
    Location,
    Refresh,
    Expires,
    AccelExpires,
    AccelRedirect,
    AccelLimitRate,
    AccelBuffering,
    AccelCharset,
    ContentLength,
    TransferEncoding,
    ContentEncoding,
    WwwAuthenticate,
    SetCookie,
    ContentDisposition,
    CacheControl,
    AcceptRanges,
    Upgrade,
    Connection,
    KeepAlive,
    Pad,
    Vary,
    Other,
    /// A second one of its name, which counts for nothing.
    Ignored,
}

/// How many fields, from the first on, have a value that is remembered, and only one.
pub const SINGLE: usize = Field::AccelLimitRate as usize + 1;

impl Field {
    pub fn of(name: &[u8]) -> Field {
        let known = match name.len() {
            4 => among(
                name,
                [(b"date", Field::Date), (b"etag", Field::Etag), (b"vary", Field::Vary)],
            ),
            5 => among(name, [(b"x-pad", Field::Pad)]),
            6 => among(name, [(b"server", Field::Server), (b"status", Field::Status)]),
            7 => among(
                name,
                [
                    (b"expires", Field::Expires),
                    (b"refresh", Field::Refresh),
                    (b"upgrade", Field::Upgrade),
                ],
            ),
            8 => among(name, [(b"location", Field::Location)]),
            10 => among(
                name,
                [
                    (b"connection", Field::Connection),
                    (b"keep-alive", Field::KeepAlive),
                    (b"set-cookie", Field::SetCookie),
                ],
            ),
            12 => among(name, [(b"content-type", Field::ContentType)]),
            13 => among(
                name,
                [
                    (b"last-modified", Field::LastModified),
                    (b"cache-control", Field::CacheControl),
                    (b"accept-ranges", Field::AcceptRanges),
                ],
            ),
            14 => among(name, [(b"content-length", Field::ContentLength)]),
            15 => among(
                name,
                [
                    (b"x-accel-expires", Field::AccelExpires),
                    (b"x-accel-charset", Field::AccelCharset),
                ],
            ),
            16 => among(
                name,
                [
                    (b"x-accel-redirect", Field::AccelRedirect),
                    (b"www-authenticate", Field::WwwAuthenticate),
                    (b"content-encoding", Field::ContentEncoding),
                ],
            ),
            17 => among(
                name,
                [
                    (b"transfer-encoding", Field::TransferEncoding),
                    (b"x-accel-buffering", Field::AccelBuffering),
                ],
            ),
            18 => among(name, [(b"x-accel-limit-rate", Field::AccelLimitRate)]),
            19 => among(name, [(b"content-disposition", Field::ContentDisposition)]),
            _ => None,
        };
        known.unwrap_or(Field::Other)
    }

    /// Tells the server itself what to do.
    pub fn is_order(self) -> bool {
        use Field::*;
        matches!(
            self,
            AccelExpires | AccelRedirect | AccelLimitRate | AccelBuffering | AccelCharset
        )
    }

    /// Of the upstream's connection and framing, or without a meaning: no client gets it.
    pub fn is_for_server_alone(self) -> bool {
        use Field::*;
        matches!(self, ContentLength | TransferEncoding | Connection | KeepAlive | Ignored)
    }

    /// Not passed to clients unless the configuration says so.
    pub fn is_hidden(self) -> bool {
        self.is_order() || matches!(self, Field::Date | Field::Server | Field::Pad)
    }

    /// Goes with the response that `X-Accel-Redirect` leads to.
    pub fn survives_redirect(self) -> bool {
        use Field::*;
        matches!(
            self,
            ContentType | SetCookie | ContentDisposition | CacheControl | Expires | AcceptRanges
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(Field::of(b"X-Accel-REDIRECT"), Field::AccelRedirect);
        assert_eq!(Field::of(b"x-accel-limit-rate"), Field::AccelLimitRate);
        assert_eq!(Field::of(b"Set-Cookie"), Field::SetCookie);
        assert_eq!(Field::of(b"X-Accel-Nothing"), Field::Other);
    }

    #[test]
    fn what_counts_once_stands_first() {
        for single in [Field::Status, Field::Location, Field::AccelRedirect] {
            assert!((single as usize) < SINGLE);
        }
        assert!(Field::SetCookie as usize >= SINGLE && Field::ContentLength as usize >= SINGLE);
    }
}
