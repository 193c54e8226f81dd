//! The HTTP/2 machine on standard input and output, for `tests/judge/http2.py`: as a server that
//! answers each request with its fields and its body, or as a decoder of header blocks, one in
//! hexadecimal digits a line.

use std::collections::HashMap;
use std::io::{BufRead, Read, Write, stdin, stdout};
use std::sync::Arc;

use daemun_proto::http2::hpack::{Decoder, encode};
use daemun_proto::http2::{Config, Connection, Event, Head, Message, Part};

fn main() -> std::io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("fields") => fields(),
        _ => serve(),
    }
}

/// A response that is being sent.
#[derive(Default)]
struct Response {
    body: Vec<u8>,
    is_ready: bool,
}

fn serve() -> std::io::Result<()> {
    let (mut out, mut input, mut head) = (Vec::new(), Vec::new(), Head::default());
    let mut connection = Connection::server(Arc::new(Config::default()), &mut out);
    let mut responses: HashMap<u32, Response> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        stdout().write_all(&out)?;
        stdout().flush()?;
        out.clear();
        let length = stdin().read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..length]);
        let mut at = 0;
        loop {
            match connection.receive(&input, &mut at, &mut head, &mut out) {
                Ok(Event::Incomplete) => break,
                Ok(Event::Message(message)) => {
                    let response = responses.entry(message.stream).or_default();
                    tell(&message, &head, &mut response.body);
                    response.is_ready = message.is_end;
                    head.clear();
                }
                Ok(Event::Data { stream, length, is_end }) => {
                    let Some(response) = responses.get_mut(&stream) else { continue };
                    response.body.extend_from_slice(&input[at - length..at]);
                    response.is_ready |= is_end;
                    connection.consume(stream, length, &mut out);
                }
                Ok(Event::Trailers { stream }) => {
                    let Some(response) = responses.get_mut(&stream) else { continue };
                    for (name, value) in head.iter() {
                        response.body.extend([b"trailer ", name, b": ", value, b"\n"].concat());
                    }
                    response.is_ready = true;
                    head.clear();
                }
                Ok(Event::Reset { stream, .. }) => {
                    responses.remove(&stream);
                    connection.release();
                    head.clear();
                }
                Ok(_) => {}
                Err(fatal) => {
                    stdout().write_all(&out)?;
                    eprintln!("{fatal:?}");
                    return Ok(());
                }
            }
        }
        input.drain(..at);
        responses.retain(|stream, response| !send(&mut connection, *stream, response, &mut out));
    }
}

fn tell(message: &Message, head: &Head, body: &mut Vec<u8>) {
    let pseudo = message.pseudo;
    for (name, value) in [
        (":method", pseudo.method),
        (":scheme", pseudo.scheme),
        (":authority", pseudo.authority),
        (":path", pseudo.path),
    ] {
        if let Some(value) = value {
            body.extend([name.as_bytes(), b": ", value.of(&head.bytes), b"\n"].concat());
        }
    }
    for (name, value) in head.iter() {
        body.extend([name, b": ", value, b"\n"].concat());
    }
    if let Some(malformed) = message.malformed {
        body.extend(format!("malformed: {malformed:?}\n").into_bytes());
    }
}

/// Sends what goes; tells whether that was all.
fn send(connection: &mut Connection, id: u32, response: &mut Response, out: &mut Vec<u8>) -> bool {
    if !response.is_ready {
        return false;
    }
    if connection.slot(id) == Some(0) {
        connection.set_slot(id, 1);
        let start = connection.begin_block(out);
        encode::status(200, out);
        encode::field(b"Content-Length", response.body.len().to_string().as_bytes(), out);
        encode::field(b"X-Long", &vec![b'~'; 20_000], out);
        connection.finish_block(id, start, Part::Head, out);
    }
    loop {
        match connection.send_data(id, &response.body, true, out) {
            0 => return false,
            length if length == response.body.len() => return true,
            length => drop(response.body.drain(..length)),
        }
    }
}

fn fields() -> std::io::Result<()> {
    let mut decoder = Decoder::default();
    for line in stdin().lock().lines() {
        let line = line?;
        if line == "new" {
            decoder = Decoder::default();
            continue;
        }
        let digits = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap_or(0);
        let block: Vec<u8> = (0..line.len() / 2).map(|place| digits(2 * place)).collect();
        let (mut out, mut text) = (Vec::new(), String::new());
        let (mut at, mut room, mut is_first) = (0, 60_000, true);
        let verdict = loop {
            match decoder.next(&block, &mut at, is_first, &mut room, &mut out) {
                Ok(Some(field)) => {
                    is_first = false;
                    let hex = |range: daemun_proto::http1::Range| -> String {
                        range.of(&out).iter().map(|byte| format!("{byte:02x}")).collect()
                    };
                    text.push_str(&format!("{}={};", hex(field.name), hex(field.value)));
                }
                Ok(None) if at == block.len() => break text,
                Ok(None) => break "flaw Cut".to_owned(),
                Err(flaw) => break format!("flaw {flaw:?}"),
            }
        };
        println!("{verdict}");
    }
    Ok(())
}
