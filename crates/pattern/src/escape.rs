//! What follows a backslash.

use crate::byte_set::{ByteSet, digits, horizontal_spaces, spaces, vertical_spaces, word_bytes};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::property::property;

/// An escape that means the same in and out of classes, or one that the caller has to place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// One certain byte.
    Byte(u8),
    /// A type of bytes, such as `\d`.
    Set(ByteSet),
    /// Any other letter, such as the `b` of `\b`.
    Letter(u8),
    /// `\1` to `\9` and beyond, outside of classes.
    Number(usize),
}

/// Reads an escape after its backslash. `groups` is the number of groups so far, which decides whether `\10` is a
/// reference; within a class there are no references.
pub(crate) fn escape(cursor: &mut Cursor<'_>, groups: Option<usize>) -> Result<Escape, Fault> {
    let Some(byte) = cursor.next() else {
        return Fault::syntax("\\ at end of pattern", cursor.at());
    };
    let escape = match byte {
        b'a' => Escape::Byte(0x07),
        b'e' => Escape::Byte(0x1b),
        b'f' => Escape::Byte(0x0c),
        b'n' => Escape::Byte(b'\n'),
        b'r' => Escape::Byte(b'\r'),
        b't' => Escape::Byte(b'\t'),
        b'd' => Escape::Set(digits()),
        b'D' => Escape::Set(digits().complement()),
        b'w' => Escape::Set(word_bytes()),
        b'W' => Escape::Set(word_bytes().complement()),
        b's' => Escape::Set(spaces()),
        b'S' => Escape::Set(spaces().complement()),
        b'h' => Escape::Set(horizontal_spaces()),
        b'H' => Escape::Set(horizontal_spaces().complement()),
        b'v' => Escape::Set(vertical_spaces()),
        b'V' => Escape::Set(vertical_spaces().complement()),
        b'c' => Escape::Byte(control(cursor)?),
        b'x' => Escape::Byte(hexadecimal(cursor)?),
        b'o' => Escape::Byte(braced_octal(cursor)?),
        b'0' => Escape::Byte(octal(cursor, 0, 2)?),
        b'1'..=b'9' => number(cursor, byte, groups)?,
        b'p' | b'P' => Escape::Set(property(cursor, byte == b'P')?),
        b'L' | b'l' | b'U' | b'u' => {
            return Fault::syntax(
                "PCRE2 does not support \\F, \\L, \\l, \\N{name}, \\U, or \\u",
                cursor.at(),
            );
        }
        letter if letter.is_ascii_alphabetic() => Escape::Letter(letter),
        other => Escape::Byte(other),
    };
    Ok(escape)
}

/// The fault of an escape that means nothing.
pub(crate) fn unrecognized<T>(cursor: &Cursor<'_>) -> Result<T, Fault> {
    Fault::syntax("unrecognized character follows \\", cursor.at() - 1)
}

/// `\cX`.
fn control(cursor: &mut Cursor<'_>) -> Result<u8, Fault> {
    match cursor.next() {
        None => Fault::syntax("\\c at end of pattern", cursor.at()),
        Some(byte @ b' '..=b'~') => Ok(byte.to_ascii_uppercase() ^ 0x40),
        Some(_) => {
            Fault::syntax("\\c must be followed by a printable ASCII character", cursor.at())
        }
    }
}

/// `\xH`, `\xHH` and `\x{H...}`; a lone `\x` is a zero byte.
fn hexadecimal(cursor: &mut Cursor<'_>) -> Result<u8, Fault> {
    if cursor.eat(b'{') {
        return braced(cursor, 16, "non-hex character in \\x{} (closing brace missing?)");
    }
    let mut value = 0;
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
            break;
        };
        cursor.next();
        value = value * 16 + digit as u8;
    }
    Ok(value)
}

/// `\o{O...}`.
fn braced_octal(cursor: &mut Cursor<'_>) -> Result<u8, Fault> {
    if !cursor.eat(b'{') {
        return Fault::syntax("missing opening brace after \\o", cursor.at() - 1);
    }
    braced(cursor, 8, "non-octal character in \\o{} (closing brace missing?)")
}

/// Digits up to a closing brace.
fn braced(cursor: &mut Cursor<'_>, radix: u32, stray: &'static str) -> Result<u8, Fault> {
    if matches!(cursor.peek(), None | Some(b'}')) {
        return Fault::syntax("digits missing in \\x{} or \\o{} or \\N{U+}", cursor.at());
    }
    let mut value: u32 = 0;
    while let Some(digit) = cursor.peek().and_then(|byte| char::from(byte).to_digit(radix)) {
        cursor.next();
        value = value * radix + digit;
        if value > 0xff {
            return Fault::syntax(
                "character code point value in \\x{} or \\o{} is too large",
                cursor.at(),
            );
        }
    }
    if !cursor.eat(b'}') {
        let at_end = usize::from(cursor.peek().is_none());
        return Fault::syntax(stray, cursor.at() - at_end);
    }
    Ok(value as u8)
}

/// Up to `more` further octal digits.
fn octal(cursor: &mut Cursor<'_>, first: u32, more: usize) -> Result<u8, Fault> {
    let mut value = first;
    for _ in 0..more {
        let Some(digit) = cursor.peek().and_then(|byte| char::from(byte).to_digit(8)) else {
            break;
        };
        cursor.next();
        value = value * 8 + digit;
    }
    match u8::try_from(value) {
        Ok(byte) => Ok(byte),
        Err(_) => {
            Fault::syntax("octal value is greater than \\377 in 8-bit non-UTF-8 mode", cursor.at())
        }
    }
}

/// A number that is a reference if it has one digit, starts with 8 or 9, or so many groups came before; otherwise up to
/// three octal digits.
fn number(cursor: &mut Cursor<'_>, first: u8, groups: Option<usize>) -> Result<Escape, Fault> {
    if let Some(groups) = groups {
        let back = cursor.at();
        let mut value = usize::from(first - b'0');
        while let Some(digit @ b'0'..=b'9') = cursor.peek() {
            cursor.next();
            value = value.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
        }
        if value < 10 || first >= b'8' || value <= groups {
            return Ok(Escape::Number(value));
        }
        cursor.back_to(back);
    }
    if first >= b'8' {
        return Ok(Escape::Byte(first));
    }
    Ok(Escape::Byte(octal(cursor, u32::from(first - b'0'), 2)?))
}
