//! Writes fields without a dynamic table: an entry of the static table, or a literal that is not to
//! be indexed.

use super::{huffman, integer, static_table};

/// `:status`.
pub fn status(status: u16, out: &mut Vec<u8>) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digit = |unit: u16| b'0' + (status / unit % 10) as u8;
            // The name of entry 8, and three bytes as they are.
            return out.extend_from_slice(&[8, 3, digit(100), digit(10), digit(1)]);
        }
    };
    out.push(0x80 | index);
}

/// `:method`, `:scheme` and `:path` where the static table has them whole; else literals.
pub fn pseudo(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let index = match (name, value) {
        (b":method", b"GET") => 2,
        (b":method", b"POST") => 3,
        (b":path", b"/") => 4,
        (b":scheme", b"http") => 6,
        (b":scheme", b"https") => 7,
        _ => return field(name, value, out),
    };
    out.push(0x80 | index);
}

/// A field; its name is written in lower case.
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    field_name(name, out);
    string(value, out);
}

/// A field whose value is written as it is: it is as well where time counts more than some bytes.
pub fn plain_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    field_name(name, out);
    integer::encode(value.len(), 7, 0, out);
    out.extend_from_slice(value);
}

/// Tells the peer's decoder that its table has no entries; it belongs before the first field of a
/// block.
pub fn no_table(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// The beginning of a literal that is not to be indexed.
fn field_name(name: &[u8], out: &mut Vec<u8>) {
    let mut lowered = [0; 32];
    let lower = match lowered.get_mut(..name.len()) {
        Some(place) => {
            place.copy_from_slice(name);
            place.make_ascii_lowercase();
            static_table::index_of(place)
        }
        None => None,
    };
    match lower {
        Some(index) => integer::encode(index.into(), 4, 0, out),
        None => {
            out.push(0);
            let is_shorter = huffman_length(name) < name.len();
            integer_and(name, is_shorter, out);
        }
    }
}

fn huffman_length(name: &[u8]) -> usize {
    // Names are short, and lower-case letters have the shorter codes.
    let mut lowered = [0; 64];
    match lowered.get_mut(..name.len()) {
        Some(place) => {
            place.copy_from_slice(name);
            place.make_ascii_lowercase();
            huffman::encoded_length(place)
        }
        None => name.len(),
    }
}

fn integer_and(name: &[u8], is_coded: bool, out: &mut Vec<u8>) {
    match is_coded {
        true => {
            integer::encode(huffman_length(name), 7, 0x80, out);
            huffman::encode(name.iter().map(u8::to_ascii_lowercase), out);
        }
        false => {
            integer::encode(name.len(), 7, 0, out);
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
}

/// A string, coded where that makes it shorter.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_length(text);
    match coded < text.len() {
        true => {
            integer::encode(coded, 7, 0x80, out);
            huffman::encode(text.iter().copied(), out);
        }
        false => {
            integer::encode(text.len(), 7, 0, out);
            out.extend_from_slice(text);
        }
    }
}
