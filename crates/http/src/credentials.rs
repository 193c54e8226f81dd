//! What `Authorization`, or `Proxy-Authorization` for a tunnel, says, and the lenient base64 that it and other places are read with.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use daemun_proto::http1::Method;

use crate::head::Known;
use crate::request::Request;

/// User and password of basic authentication, whether or not they are right.
pub struct Credentials {
    decoded: Vec<u8>,
    colon: usize,
}

impl Credentials {
    /// `None` where there are none, or no user is named.
    pub fn of(request: &Request) -> Option<Credentials> {
        let field = match request.head.method() {
            Method::Connect => Known::ProxyAuthorization,
            _ => Known::Authorization,
        };
        let (scheme, encoded) = request.header(field)?.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let decoded = decode_base64(encoded.trim_ascii_start())?;
        let colon = memchr::memchr(b':', &decoded).filter(|colon| *colon > 0)?;
        Some(Credentials { decoded, colon })
    }

    pub fn user(&self) -> &[u8] {
        &self.decoded[..self.colon]
    }

    pub fn password(&self) -> &[u8] {
        &self.decoded[self.colon + 1..]
    }
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::RequireNone)
    .with_decode_allow_trailing_bits(true);

/// As nginx decodes: what stands behind the first `=` does not matter.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    decode(&GeneralPurpose::new(&alphabet::STANDARD, LENIENT), text)
}

/// The same in the alphabet for URLs.
pub fn decode_base64url(text: &[u8]) -> Option<Vec<u8>> {
    decode(&GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT), text)
}

fn decode(engine: &GeneralPurpose, text: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memchr(b'=', text).unwrap_or(text.len());
    engine.decode(&text[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_its_lack_are_the_same() {
        for text in ["YWI=", "YWI", "YWJ", "YWI=x"] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(&b"ab"[..]), "{text}");
        }
        assert_eq!(decode_base64(b"YWIy_w"), None);
        assert_eq!(decode_base64url(b"YWI_-w").as_deref(), Some(&b"ab?\xfb"[..]));
        assert_eq!(decode_base64(b"YWJjZ"), None);
    }
}
