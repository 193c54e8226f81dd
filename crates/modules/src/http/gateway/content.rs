//! Bodies that end where `Content-Length` says, or with the connection.

use daemun_http::upstream::head::Head;
use daemun_http::upstream::protocol::Piece;
use daemun_proto::http1::Method;

/// What is still to come of a body; `None` where only the connection's end tells.
#[derive(Default)]
pub struct Content {
    left: Option<u64>,
}

impl Content {
    /// The body behind a head. What a response to HEAD has of one is read and dropped.
    pub fn behind(head: &Head, method: Method) -> Content {
        let left = match head.status {
            204 | 304 => Some(0),
            _ if method == Method::Head => None,
            _ => head.content_length,
        };
        Content { left }
    }

    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// Reads from `input` at `at`, which moves on.
    pub fn read(&mut self, input: &[u8], at: &mut usize) -> Piece {
        let mut length = input.len() - *at;
        if let Some(left) = &mut self.left {
            if *left == 0 {
                return Piece::End;
            }
            length = usize::try_from(*left).unwrap_or(usize::MAX).min(length);
            *left -= length as u64;
        }
        *at += length;
        if length > 0 { Piece::Data(length) } else { Piece::Incomplete }
    }

    /// Whether a connection that ends now ends the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.left, None | Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_its_length_says_or_with_the_connection() {
        let mut at = 0;
        let mut content = Content { left: Some(3) };
        assert_eq!(content.read(b"abcdef", &mut at), Piece::Data(3));
        assert_eq!(content.read(b"abcdef", &mut at), Piece::End);
        assert_eq!((at, content.ends_with_connection()), (3, true));
        assert!(!Content { left: Some(1) }.ends_with_connection());

        let mut open = Content { left: None };
        at = 0;
        assert_eq!(open.read(b"abc", &mut at), Piece::Data(3));
        assert_eq!(open.read(b"abc", &mut at), Piece::Incomplete);
        assert!(open.ends_with_connection());
    }
}
