//! The head of a request, encoded. It does not depend on the connection that it will go to.

use daemun_proto::http2::hpack::encode;

/// Fields of a connection of HTTP/1, which no message of HTTP/2 may have (RFC 9113, section 8.2.2).
const OF_CONNECTION: [&[u8]; 5] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

/// What a request begins with.
#[derive(Default)]
pub struct Block {
    pub(super) bytes: Vec<u8>,
    /// Its response has no body.
    pub(super) is_head: bool,
    /// A body in place of the client's.
    pub body: Option<Vec<u8>>,
}

/// The request line, as it were.
pub struct Line<'l> {
    pub method: &'l [u8],
    pub is_tls: bool,
    pub path: &'l [u8],
    pub authority: &'l [u8],
}

impl Block {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_head = false;
        self.body = None;
    }

    /// Appends the pseudo-header fields, which go before all others.
    pub fn begin(&mut self, line: Line<'_>) {
        self.is_head = line.method.eq_ignore_ascii_case(b"HEAD");
        let scheme: &[u8] = if line.is_tls { b"https" } else { b"http" };
        encode::pseudo(b":method", line.method, &mut self.bytes);
        encode::pseudo(b":scheme", scheme, &mut self.bytes);
        encode::pseudo(b":path", line.path, &mut self.bytes);
        encode::pseudo(b":authority", line.authority, &mut self.bytes);
    }

    /// Appends a field, unless it is one that belongs to a connection of HTTP/1.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        let is_name = |of: &&[u8]| of.eq_ignore_ascii_case(name);
        let is_foreign_te =
            name.eq_ignore_ascii_case(b"te") && !value.eq_ignore_ascii_case(b"trailers");
        if !is_foreign_te && !OF_CONNECTION.iter().any(is_name) {
            encode::plain_field(name, value, &mut self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_connections_is_left_out() {
        let mut block = Block::default();
        for (name, value) in
            [("Connection", "close"), ("Upgrade", "a"), ("TE", "gzip"), ("Keep-Alive", "1")]
        {
            block.field(name.as_bytes(), value.as_bytes());
        }
        assert!(block.bytes.is_empty());
        block.field(b"TE", b"trailers");
        block.field(b"X-A", b"b");
        assert!(!block.bytes.is_empty());
    }
}
