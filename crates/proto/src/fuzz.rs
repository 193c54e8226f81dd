//! Entry points for the fuzz targets; ordinary tests run them too.

use crate::http1::{self, Parsed, chunked, host, uri};
use crate::{dns, fastcgi, memcached, proxy_protocol, scgi, uwsgi};

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

/// What a FastCGI application sends, whole and byte by byte: both ways must agree.
pub fn fastcgi_records(data: &[u8]) {
    let read = |size: usize| {
        let mut reader = fastcgi::Reader::default();
        let (mut stdout, mut stderr) = (Vec::<u8>::new(), Vec::<u8>::new());
        let mut steps = Vec::new();
        for piece in data.chunks(size.max(1)) {
            let mut at = 0;
            loop {
                match reader.next(piece, &mut at) {
                    Ok(fastcgi::Step::Incomplete) => break,
                    Ok(fastcgi::Step::Stdout(length)) => stdout.extend(&piece[at - length..at]),
                    Ok(fastcgi::Step::Stderr(length)) => stderr.extend(&piece[at - length..at]),
                    Ok(step) => steps.push(step),
                    Err(flaw) => return (stdout, stderr, steps, Some(flaw)),
                }
            }
        }
        (stdout, stderr, steps, None)
    };
    assert_eq!(read(data.len()), read(1));
}

/// A netstring: whatever the parameters are, it has the length it tells, and as many parameters as went in.
pub fn scgi_request(data: &[u8]) {
    let (name, value) = data.split_at(data.len() / 2);
    let (mut params, mut out) = (Vec::new(), Vec::new());
    scgi::param(name, value, &mut params);
    scgi::request(data.len() as u64, &params, &mut out);
    let colon = out.iter().position(|byte| *byte == b':').expect("a netstring");
    let length: usize = String::from_utf8_lossy(&out[..colon]).parse().expect("a length");
    assert_eq!((out.len(), out.last()), (colon + 1 + length + 1, Some(&b',')));
    assert_eq!(out.iter().filter(|byte| **byte == 0).count(), 4);
}

/// A uwsgi packet: it has the size it tells.
pub fn uwsgi_request(data: &[u8]) {
    let (name, value) = data.split_at(data.len() / 2);
    if value.len() > uwsgi::MOST {
        return;
    }
    let (mut params, mut out) = (Vec::new(), Vec::new());
    uwsgi::param(name, value, &mut params);
    match uwsgi::request((0, 0), &params, b"", &mut out) {
        Ok(()) => assert_eq!(usize::from(u16::from_le_bytes([out[1], out[2]])), out.len() - 4),
        Err(length) => assert!(length > uwsgi::MOST),
    }
}

/// A reply of memcached, whole and byte by byte: both ways must agree. And no key is more than a word.
pub fn memcached_reply(data: &[u8]) {
    let mut key = Vec::new();
    memcached::escape_key(data, &mut key);
    assert!(!key.iter().any(|byte| *byte <= b' '));

    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(memcached::Reply::Value { length, .. }) = memcached::reply(line, b"/a", true) else {
        return;
    };
    let rest = &data[(line.len() + 1).min(data.len())..];
    let read = |size: usize| {
        let mut body = memcached::Body::new(length);
        let mut value = Vec::<u8>::new();
        for piece in rest.chunks(size.max(1)) {
            let mut at = 0;
            loop {
                match body.next(piece, &mut at) {
                    memcached::Step::Incomplete => break,
                    memcached::Step::Data(length) => value.extend(&piece[at - length..at]),
                    step => return (value, Some(step)),
                }
            }
        }
        (value, None)
    };
    assert_eq!(read(rest.len()), read(1));
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
