//! What the HTTP/2 machine takes for a request: reading a browser's head and writing a usual
//! response's.
//!
//! `cargo run --release -p daemun-bench --bin http2 [rounds]`; each figure is the best round's, so that
//! many short ones find a moment in which nothing else runs. Under `valgrind` the number of
//! allocations is the same however many rounds there are: a request takes none.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use daemun_proto::http2::frame::{self, Head as FrameHead, Kind};
use daemun_proto::http2::hpack::{encode, huffman, static_table};
use daemun_proto::http2::{Config, Connection, Event, Head, PREFACE, Part};

/// What Chromium sends for a page.
const FIELDS: [(&str, &str); 18] = [
    (":method", "GET"),
    (":authority", "www.example.com"),
    (":scheme", "https"),
    (":path", "/articles/2026/11/a-page-with-a-name.html?from=front"),
    ("sec-ch-ua", "\"Chromium\";v=\"156\", \"Not(A:Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    ),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://www.example.com/articles/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
];

const RESPONSE: [(&str, &str); 7] = [
    ("server", "daemun"),
    ("date", "Mon, 30 Nov 2026 21:00:00 GMT"),
    ("content-type", "text/html"),
    ("content-length", "1024"),
    ("last-modified", "Mon, 30 Nov 2026 20:00:00 GMT"),
    ("etag", "\"692ca1b0-400\""),
    ("accept-ranges", "bytes"),
];

/// An encoder as browsers have one: what is new is indexed, but not the path.
#[derive(Default)]
struct Encoder {
    /// The newest is the last one.
    table: Vec<(&'static str, &'static str)>,
}

impl Encoder {
    fn block(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in FIELDS {
            let entry = (name.as_bytes(), value.as_bytes());
            if let Some(place) = static_table::ENTRIES.iter().position(|known| *known == entry) {
                out.push(0x80 | (place as u8 + 1));
            } else if let Some(place) = self.table.iter().position(|known| *known == (name, value))
            {
                out.push(0x80 | (61 + self.table.len() - place) as u8);
            } else {
                let is_indexed = name != ":path";
                let flag = if is_indexed { 0x40 } else { 0 };
                match static_table::index_of(name.as_bytes()) {
                    Some(index) if index < 15 || is_indexed => out.push(flag | index),
                    _ => {
                        out.push(flag);
                        string(name, &mut out);
                    }
                }
                string(value, &mut out);
                if is_indexed {
                    self.table.push((name, value));
                }
            }
        }
        out
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    let length = huffman::encoded_length(text.as_bytes());
    assert!(length < 127);
    out.push(0x80 | length as u8);
    huffman::encode(text.bytes(), out);
}

fn server(out: &mut Vec<u8>) -> Connection {
    let mut connection = Connection::server(Arc::new(Config::default()), out);
    let mut nothing = Head::default();
    let _ = connection.receive(PREFACE, &mut 0, &mut nothing, out);
    connection
}

fn set_stream(frame: &mut [u8], stream: u32) {
    frame[5..9].copy_from_slice(&stream.to_be_bytes());
}

fn headers(block: &[u8]) -> Vec<u8> {
    let flags = frame::END_HEADERS | frame::END_STREAM;
    let mut bytes = Vec::new();
    let length = block.len() as u32;
    FrameHead { length, kind: Kind::Headers, flags, stream: 1 }.write(&mut bytes);
    bytes.extend_from_slice(block);
    bytes
}

fn read(connection: &mut Connection, bytes: &[u8], head: &mut Head, out: &mut Vec<u8>) -> u32 {
    head.clear();
    match connection.receive(black_box(bytes), &mut 0, head, out) {
        Ok(Event::Message(message)) => message.stream,
        other => panic!("{other:?}"),
    }
}

fn answer(connection: &mut Connection, stream: u32, is_coded: bool, out: &mut Vec<u8>) {
    let start = connection.begin_block(out);
    encode::status(200, out);
    for (name, value) in RESPONSE {
        let (name, value) = (black_box(name).as_bytes(), black_box(value).as_bytes());
        match is_coded {
            true => encode::field(name, value, out),
            false => encode::plain_field(name, value, out),
        }
    }
    connection.finish_block(stream, start, Part::Head, out);
    let body = black_box(&[0u8; 1024]);
    connection.send_data(stream, body, true, out);
}

/// The best of some rounds, in nanoseconds for one.
fn best(rounds: u32, mut round: impl FnMut(u32)) -> f64 {
    const TIMES: u32 = 200;
    let once = |_| {
        let start = Instant::now();
        round(TIMES);
        start.elapsed().as_nanos() as f64 / f64::from(TIMES)
    };
    (0..rounds).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(3000);
    let mut encoder = Encoder::default();
    let mut first = headers(&encoder.block());
    let mut later = headers(&encoder.block());
    let (mut out, mut head) = (Vec::new(), Head::default());
    let bytes: usize = FIELDS.iter().map(|(name, value)| name.len() + value.len()).sum();
    println!(
        "{} fields of {bytes} bytes, first {}, later {}",
        FIELDS.len(),
        first.len(),
        later.len()
    );

    // The owner's window is not at issue here.
    let mut window = Vec::new();
    frame::window_update(0, 1100, &mut window);
    let mut measure = |name: &str, bytes: &mut Vec<u8>, is_answered: Option<bool>| {
        let mut connection = server(&mut out);
        set_stream(&mut first, 1);
        let stream = read(&mut connection, &first, &mut head, &mut out);
        answer(&mut connection, stream, false, &mut out);
        let mut stream = 1;
        let each = best(rounds, |times| {
            for _ in 0..times {
                stream += 2;
                out.clear();
                set_stream(bytes, stream);
                let _ = connection.receive(&window, &mut 0, &mut head, &mut out);
                read(&mut connection, bytes, &mut head, &mut out);
                match is_answered {
                    Some(is_coded) => answer(&mut connection, stream, is_coded, &mut out),
                    None => answer_nothing(&mut connection, stream, &mut out),
                }
            }
        });
        println!("{name:40} {each:7.1} ns");
        each
    };
    let mut first_again = headers(&Encoder::default().block());
    let mut least = headers(&[0x82, 0x84, 0x87, 0x01, 0]);
    // An empty authority is malformed: one byte is the least.
    least.truncate(9 + 3);
    least[2] = 3;
    let base = measure("least request, least response", &mut least, None);
    let indexed = measure("browser's later request, least response", &mut later, None);
    let literal = measure("browser's first request, least response", &mut first_again, None);
    let plain = measure("later request, response of 1 KB", &mut later, Some(false));
    let coded = measure("later request, response in Huffman", &mut later, Some(true));
    println!("decoding of a later head: {:.1} ns", indexed - base);
    println!("decoding of a first head: {:.1} ns", literal - base);
    println!("encoding of a response's head: {:.1} ns", plain - indexed);
    println!("encoding of one in Huffman: {:.1} ns", coded - indexed);
}

fn answer_nothing(connection: &mut Connection, stream: u32, out: &mut Vec<u8>) {
    let start = connection.begin_block(out);
    encode::status(200, out);
    connection.finish_block(stream, start, Part::End, out);
}
