//! Tables between character sets of one byte a character, and between such and UTF-8.

use std::collections::HashMap;
use std::sync::Arc;

/// Both ways between two character sets.
pub struct Map {
    source: Vec<u8>,
    target: Vec<u8>,
    forth: Arc<Table>,
    back: Arc<Table>,
}

/// One way between two character sets.
enum Table {
    Bytes(Box<[u8; 256]>),
    ToUtf8(Vec<Vec<u8>>),
    FromUtf8(HashMap<u32, u8>),
}

/// What stands for characters that the other set has not.
const UNKNOWN: u8 = b'?';

impl Map {
    /// ASCII is the same in both.
    pub fn new(source: &[u8], target: &[u8]) -> Map {
        let ascii = || (0..=255).map(|byte| if byte < 0x80 { byte } else { UNKNOWN });
        let bytes = || {
            let mut table = Box::new([UNKNOWN; 256]);
            table.iter_mut().zip(ascii()).for_each(|(place, byte)| *place = byte);
            Arc::new(Table::Bytes(table))
        };
        let (forth, back) = match target.eq_ignore_ascii_case(b"utf-8") {
            true => (
                Arc::new(Table::ToUtf8(ascii().map(|byte| vec![byte]).collect())),
                Arc::new(Table::FromUtf8(HashMap::new())),
            ),
            false => (bytes(), bytes()),
        };
        Map { source: source.to_vec(), target: target.to_vec(), forth, back }
    }

    /// Adds a character: a byte of the source, and a byte or the bytes of UTF-8, in hexadecimal digits; `None` where
    /// these make no sense.
    pub fn add(&mut self, source: u8, digits: &[u8]) -> Option<()> {
        let (forth, back) = (Arc::get_mut(&mut self.forth)?, Arc::get_mut(&mut self.back)?);
        match (forth, back) {
            (Table::ToUtf8(forth), Table::FromUtf8(back)) => {
                let pairs = digits.chunks(2).map(|pair| u8::try_from(hexadecimal(pair)?).ok());
                let bytes: Vec<u8> = pairs.collect::<Option<_>>()?;
                let Decoded::Character(character, _) = decode(&bytes) else {
                    return None;
                };
                (character <= 0xffff).then_some(())?;
                back.insert(character, source);
                forth[usize::from(source)] = bytes;
            }
            (Table::Bytes(forth), Table::Bytes(back)) => {
                let target = u8::try_from(hexadecimal(digits)?).ok()?;
                forth[usize::from(source)] = target;
                back[usize::from(target)] = source;
            }
            _ => return None,
        }
        Some(())
    }

    pub fn is_between(&self, one: &[u8], other: &[u8]) -> bool {
        self.leads(one, other) || self.leads(other, one)
    }

    fn leads(&self, source: &[u8], target: &[u8]) -> bool {
        self.source.eq_ignore_ascii_case(source) && self.target.eq_ignore_ascii_case(target)
    }

    /// From one of the two to the other.
    pub fn recoder(&self, source: &[u8], target: &[u8]) -> Option<Recoder> {
        let table = if self.leads(source, target) {
            &self.forth
        } else if self.leads(target, source) {
            &self.back
        } else {
            return None;
        };
        Some(Recoder { table: Arc::clone(table), held: Vec::new() })
    }
}

/// The number of hexadecimal digits, at most as long as fits.
pub fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digits = str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u32::from_str_radix(digits, 16).ok()
}

/// A body on its way from one character set to another.
pub struct Recoder {
    table: Arc<Table>,
    /// The beginning of a character in UTF-8.
    held: Vec<u8>,
}

impl Recoder {
    pub fn keeps_length(&self) -> bool {
        matches!(*self.table, Table::Bytes(_))
    }

    pub fn recode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        match &*self.table {
            Table::Bytes(table) => out.extend(input.iter().map(|byte| table[usize::from(*byte)])),
            Table::ToUtf8(table) => {
                input.iter().for_each(|byte| out.extend_from_slice(&table[usize::from(*byte)]));
            }
            Table::FromUtf8(table) if self.held.is_empty() => {
                self.held = from_utf8(table, input, out).to_vec();
            }
            Table::FromUtf8(table) => {
                self.held.extend_from_slice(input);
                let joined = std::mem::take(&mut self.held);
                self.held = from_utf8(table, &joined, out).to_vec();
            }
        }
    }
}

/// Appends what is complete; the rest is the beginning of a character. What the set has not is spelt for HTML.
fn from_utf8<'i>(table: &HashMap<u32, u8>, mut input: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
    while let Some(&byte) = input.first() {
        if byte < 0x80 {
            out.push(byte);
            input = &input[1..];
            continue;
        }
        match decode(input) {
            Decoded::Incomplete => return input,
            Decoded::Invalid(length) => {
                out.push(UNKNOWN);
                input = &input[length..];
            }
            Decoded::Character(character, length) => {
                match table.get(&character) {
                    Some(byte) => out.push(*byte),
                    None => out.extend_from_slice(format!("&#{character};").as_bytes()),
                }
                input = &input[length..];
            }
        }
    }
    input
}

enum Decoded {
    /// And how many bytes it took.
    Character(u32, usize),
    Invalid(usize),
    Incomplete,
}

/// Reads a character as nginx does, which is kinder than RFC 3629: what follows the first byte may be any byte beyond
/// ASCII.
fn decode(input: &[u8]) -> Decoded {
    let (first, valid, more) = match input.first() {
        None => return Decoded::Incomplete,
        Some(byte @ ..0x80) => return Decoded::Character(u32::from(*byte), 1),
        Some(byte @ 0xc2..0xe0) => (byte & 0x1f, 0x7f, 1),
        Some(byte @ 0xe0..0xf0) => (byte & 0x0f, 0x7ff, 2),
        Some(byte @ 0xf0..0xf8) => (byte & 0x07, 0xffff, 3),
        Some(_) => return Decoded::Invalid(1),
    };
    let Some(rest) = input.get(1..=more) else {
        return Decoded::Incomplete;
    };
    let mut character = u32::from(first);
    for (index, byte) in rest.iter().enumerate() {
        if *byte < 0x80 {
            return Decoded::Invalid(index + 2);
        }
        character = character << 6 | u32::from(byte & 0x3f);
    }
    match character > valid && character <= 0x10_ffff {
        true => Decoded::Character(character, more + 1),
        false => Decoded::Invalid(more + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recoded(mut recoder: Recoder, input: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        input.chunks(size).for_each(|piece| recoder.recode(piece, &mut out));
        out
    }

    #[test]
    fn text_goes_to_utf8_and_back() {
        let mut map = Map::new(b"koi8-r", b"UTF-8");
        map.add(0xc1, b"D0B0").unwrap();
        map.add(0x80, b"E282AC").unwrap();
        let text = "x а € y";
        for size in 1..text.len() {
            let koi8 = recoded(map.recoder(b"utf-8", b"KOI8-R").unwrap(), text.as_bytes(), size);
            assert_eq!(koi8, b"x \xc1 \x80 y");
            let back = recoded(map.recoder(b"koi8-r", b"utf-8").unwrap(), &koi8, size);
            assert_eq!(back, text.as_bytes());
            let unknown =
                recoded(map.recoder(b"utf-8", b"koi8-r").unwrap(), "ä\u{1f600}".as_bytes(), size);
            assert_eq!(unknown, b"&#228;&#128512;");
        }
        let unknown = recoded(map.recoder(b"koi8-r", b"utf-8").unwrap(), b"\xc2", 1);
        assert_eq!(unknown, b"?");
    }

    #[test]
    fn bytes_go_to_bytes() {
        let mut map = Map::new(b"koi8-r", b"windows-1251");
        map.add(0xc1, b"E0").unwrap();
        assert!(map.is_between(b"windows-1251", b"koi8-r"));
        assert_eq!(
            recoded(map.recoder(b"koi8-r", b"windows-1251").unwrap(), b"a\xc1\xc2", 1),
            b"a\xe0?"
        );
        assert_eq!(
            recoded(map.recoder(b"windows-1251", b"koi8-r").unwrap(), b"a\xe0", 1),
            b"a\xc1"
        );
    }

    #[test]
    fn rows_that_make_no_sense_are_refused() {
        let mut utf8 = Map::new(b"a", b"utf-8");
        let mut bytes = Map::new(b"a", b"b");
        for digits in ["", "D0", "x", "F0909090", "D0B"] {
            assert!(utf8.add(0x80, digits.as_bytes()).is_none(), "{digits}");
        }
        assert!(bytes.add(0x80, b"100").is_none() && bytes.add(0x80, b"").is_none());
    }
}
