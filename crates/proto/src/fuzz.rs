//! Entry points for the fuzz targets; ordinary tests run them too.

use crate::http1::{self, Parsed, chunked, host, uri};
use crate::{dns, fastcgi, http2, memcached, proxy_protocol, scgi, uwsgi};

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

/// What an HTTP/2 connection told, with the bytes that belong to it.
#[derive(Debug, PartialEq, Eq)]
enum Http2Told {
    Event(http2::Event, http2::Head),
    Body(u32, Vec<u8>, bool),
    Fault(http2::Fatal),
}

/// A connection on which a stream is open, for a client, or a client has said hello.
fn http2_connection(is_client: bool, out: &mut Vec<u8>) -> http2::Connection {
    let config = http2::Config {
        max_concurrent_streams: 8,
        stream_window: 1000,
        connection_window: 100_000,
        max_fields: 20,
        header_limit: 2000,
        extended_connect: true,
        ..http2::Config::default()
    };
    let config = std::sync::Arc::new(config);
    if is_client {
        let mut connection = http2::Connection::client(config, out);
        connection.open_stream(false);
        connection.open_stream(true);
        return connection;
    }
    let mut connection = http2::Connection::server(config, out);
    let mut nothing = http2::Head::default();
    let event = connection.receive(http2::PREFACE, &mut 0, &mut nothing, out);
    assert_eq!(event, Ok(http2::Event::Incomplete));
    connection
}

/// Answers a stream with a short head.
fn http2_answer(connection: &mut http2::Connection, stream: u32, out: &mut Vec<u8>) {
    let start = connection.begin_block(out);
    http2::hpack::encode::status(200, out);
    connection.finish_block(stream, start, http2::Part::End, out);
}

/// Frames, whole and in pieces: both ways must agree in what is told, what is sent and how it ends.
pub fn http2_frames(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let (is_client, size) = (first & 1 == 1, usize::from(first >> 1));
    let read = |size: usize| {
        let (mut out, mut told, mut head) = (Vec::new(), Vec::new(), http2::Head::default());
        let mut connection = http2_connection(is_client, &mut out);
        let (mut at, mut available) = (0, size.min(data.len()));
        loop {
            let event = connection.receive(&data[..available], &mut at, &mut head, &mut out);
            match event {
                Ok(http2::Event::Incomplete) if available == data.len() => break,
                Ok(http2::Event::Incomplete) => available = (available + size).min(data.len()),
                Ok(http2::Event::Data { stream, length, is_end }) => {
                    let bytes = &data[at - length..at];
                    match told.last_mut() {
                        Some(Http2Told::Body(last, body, end)) if *last == stream => {
                            body.extend_from_slice(bytes);
                            *end |= is_end;
                        }
                        _ => told.push(Http2Told::Body(stream, bytes.to_vec(), is_end)),
                    }
                }
                Ok(event) => {
                    if let http2::Event::Message(message) = event
                        && !is_client
                        && message.stream % 4 == 1
                    {
                        http2_answer(&mut connection, message.stream, &mut out);
                    }
                    told.push(Http2Told::Event(event, std::mem::take(&mut head)));
                }
                Err(fatal) => {
                    told.push(Http2Told::Fault(fatal));
                    break;
                }
            }
            assert!(at <= available);
        }
        (told, out)
    };
    let whole = read(data.len().max(1));
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(size.max(1)));
}

/// Frames, and an owner that does anything at any time: what is kept is bounded, and nothing comes of
/// streams that are no more.
pub fn http2_owner(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let is_client = first & 1 == 1;
    let (mut out, mut head) = (Vec::new(), http2::Head::default());
    let mut connection = http2_connection(is_client, &mut out);
    let (mut at, mut act) = (0, *first);
    while let Ok(event) = connection.receive(data, &mut at, &mut head, &mut out) {
        act = act.wrapping_mul(5).wrapping_add(at as u8 | 1);
        let stream = match event {
            http2::Event::Incomplete => break,
            http2::Event::Message(message) => {
                for (name, value) in head.iter() {
                    assert!(!name.is_empty() && !value.contains(&b'\n'));
                }
                let pseudo = message.pseudo;
                for range in [pseudo.method, pseudo.path, pseudo.authority].into_iter().flatten() {
                    let _ = range.of(&head.bytes);
                }
                head.clear();
                message.stream
            }
            http2::Event::Data { stream, length, is_end: _ } => {
                assert!(length <= at);
                connection.consume(stream, length, &mut out);
                stream
            }
            http2::Event::Reset { stream, .. } => {
                assert!(!connection.is_open(stream));
                connection.release();
                head.clear();
                stream
            }
            http2::Event::Trailers { stream } => {
                head.clear();
                stream
            }
            http2::Event::Window { stream } => stream,
            _ => 1,
        };
        match act % 16 {
            0 => connection.reset(stream, http2::Code::CANCEL, &mut out),
            1 => http2_answer(&mut connection, stream, &mut out),
            2 => drop(connection.send_data(stream, &[7; 5000], act > 100, &mut out)),
            3 => connection.widen(stream, u32::from(act), &mut out),
            4 => connection.shrink(),
            5 => drop(connection.open_stream(act > 100)),
            6 if act > 250 => connection.go_away(http2::Code::NO_ERROR, &mut out),
            7 => connection.refill(1),
            8 => connection.stalled(1, |_| {}),
            9 => connection.set_waiting(stream, true),
            _ => {}
        }
        if let Some(stream) = connection.unfinished_head().filter(|_| act.is_multiple_of(5)) {
            connection.reset(stream, http2::Code::PROTOCOL_ERROR, &mut out);
            head.clear();
        }
        out.clear();
        assert!(connection.footprint() < 40_000 && head.bytes.len() < 10_000);
    }
}

/// A header block: what can be decoded comes back when it is encoded and decoded again.
pub fn http2_fields(data: &[u8]) {
    use http2::hpack::{Decoder, encode};
    let mut decoder = Decoder::default();
    let read = |decoder: &mut Decoder, block: &[u8]| {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let (mut at, mut room) = (0, 20_000);
        while let Ok(Some(field)) =
            decoder.next(block, &mut at, fields.is_empty(), &mut room, &mut bytes)
        {
            fields.push(field);
        }
        let part = |range: http1::Range| range.of(&bytes).to_vec();
        fields.iter().map(|field| (part(field.name), part(field.value))).collect::<Vec<_>>()
    };
    let mut fields = read(&mut decoder, data);
    assert!(decoder.table_size() <= 4096 && decoder.allocated() < 20_000);
    let mut block = Vec::new();
    for (name, value) in &fields {
        encode::field(name, value, &mut block);
    }
    fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    assert_eq!(read(&mut Decoder::default(), &block), fields);

    let mut text = Vec::new();
    if http2::hpack::huffman::decode(data, &mut text).is_ok() {
        let mut code = Vec::new();
        http2::hpack::huffman::encode(text.iter().copied(), &mut code);
        // A whole byte of padding is taken, and not written.
        assert!(code == data || data.split_last() == Some((&0xff, &code)));
    }
}
