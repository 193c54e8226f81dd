//! Entry points for the fuzz targets; ordinary tests run them too.

use crate::dns;
use crate::http1::{self, Parsed, chunked, host, uri};
use crate::proxy_protocol;

/// A whole request head and whatever follows.
pub fn request_head(data: &[u8]) {
    let Ok(Parsed::Done(line, mut at)) = http1::parse_request_line(data, 0) else {
        return;
    };
    let mut path = Vec::new();
    let _ = uri::normalise(line.target.of(data), true, &mut path);
    while let Ok(Parsed::Done(http1::header::Line::Header(header), next)) =
        http1::parse_header_line(data, at, true)
    {
        assert!(next > at);
        let _ = host::parse_host(header.value.of(data));
        at = next;
    }
}

/// A chunked body, whole and byte by byte: both ways must agree.
pub fn chunked_body(data: &[u8]) {
    let read = |step: usize| {
        let (mut decoder, mut at, mut available) =
            (chunked::Decoder::default(), 0, step.min(data.len()));
        let mut total = 0;
        loop {
            match decoder.next(&data[..available], &mut at) {
                Ok(chunked::Chunk::Data(length)) => total += length,
                Ok(chunked::Chunk::Incomplete) if available < data.len() => available += 1,
                other => return (total, other.is_ok(), at),
            }
        }
    };
    assert_eq!(read(data.len()), read(1));
}

/// A DNS response: any bytes are one or are not, and so is what is left when one is cut.
pub fn dns_response(data: &[u8]) {
    for over_tcp in [false, true] {
        for length in [data.len(), data.len() / 2, data.len().saturating_sub(1)] {
            let Ok(response) = dns::parse(&data[..length], over_tcp) else { continue };
            assert!(!response.name.is_empty());
            let Ok(answers) = response.answers() else { continue };
            let records = answers.v4.len() + answers.v6.len() + answers.services.len();
            assert!(records == 0 || answers.alias.is_none());
        }
    }
}

/// The PROXY protocol's header: what is read of it does not depend on how it was cut.
pub fn proxy_header(data: &[u8]) {
    let Ok(Parsed::Done(header, end)) = proxy_protocol::parse(data) else {
        return;
    };
    for length in 0..end {
        assert_eq!(proxy_protocol::parse(&data[..length]), Ok(Parsed::Incomplete), "{length}");
    }
    assert_eq!(proxy_protocol::parse(&data[..end]), Ok(Parsed::Done(header.clone(), end)));
    if let Some(header) = header {
        for name in ["alpn", "ssl", "ssl_cn", "ssl_verify", "0x05", "ssl_0x21", "nothing"] {
            let _ = proxy_protocol::tlv(header.tlvs, name);
        }
    }
}
