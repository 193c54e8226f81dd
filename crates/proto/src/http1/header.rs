//! Header lines (RFC 9112, section 5).

use super::{Parsed, Range};

/// A header line as offsets into the buffer it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderLine {
    pub name: Range,
    pub value: Range,
    /// The name has bytes that `ignore_invalid_headers` and `underscores_in_headers` decide about.
    pub is_odd: bool,
}

/// One line of a header section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Header(HeaderLine),
    /// The blank line that ends the section.
    End,
}

/// The line can't be a header line; `up_to` is where reading stopped, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub up_to: usize,
}

/// What a byte of a name is.
const TOKEN: u8 = 0;
const UNDERSCORE: u8 = 1;
const ODD: u8 = 2;
const STOP: u8 = 3;

static NAME: [u8; 256] = {
    let mut class = [ODD; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || b == b'-' {
            class[byte] = TOKEN;
        } else if b == b'_' {
            class[byte] = UNDERSCORE;
        } else if b <= 0x20 || b == 0x7f || b == b':' {
            class[byte] = STOP;
        }
        byte += 1;
    }
    class
};

/// Reads the header line, or the section's end, that begins at `start`.
///
/// As in nginx a line without a colon is a header with an empty value, and a name that begins or goes on with
/// white space, or a NUL or bare CR in a value, is refused: that covers obsolete folding and a space before
/// the colon.
pub fn parse_header_line(
    buffer: &[u8],
    start: usize,
    underscores: bool,
) -> Result<Parsed<Line>, Invalid> {
    parse(buffer, start, underscores, 1)
}

/// The same for a response, whose lines may end with more CRs than one, as in nginx. In a request they may not: who
/// passed it on may have taken each for the end of a line.
pub fn parse_response_header_line(buffer: &[u8], start: usize) -> Result<Parsed<Line>, Invalid> {
    parse(buffer, start, true, usize::MAX)
}

fn parse(
    buffer: &[u8],
    start: usize,
    underscores: bool,
    most_returns: usize,
) -> Result<Parsed<Line>, Invalid> {
    // Nearly all names are tokens alone.
    let mut at = end_of_token(buffer, start);
    let mut is_odd = false;
    let stop = loop {
        let Some(&byte) = buffer.get(at) else {
            return Ok(Parsed::Incomplete);
        };
        match NAME[usize::from(byte)] {
            TOKEN => {}
            UNDERSCORE => is_odd |= !underscores,
            ODD => is_odd = true,
            _ => break byte,
        }
        at += 1;
    };
    if matches!(stop, b'\r' | b'\n') {
        let name = Range::new(start, at);
        return match name.is_empty() {
            true => finish(buffer, at, at, 1, Line::End),
            false => {
                let value = Range::new(at, at);
                let line = Line::Header(HeaderLine { name, value, is_odd });
                finish(buffer, at, at, most_returns, line)
            }
        };
    }
    if stop != b':' || at == start {
        return Err(Invalid { up_to: at });
    }
    let name = Range::new(start, at);
    let Some((value, end)) = read_value(buffer, at + 1)? else {
        return Ok(Parsed::Incomplete);
    };
    let line = Line::Header(HeaderLine { name, value, is_odd });
    finish(buffer, end, value.end as usize, most_returns, line)
}

/// Finds a name of `N` letters and dashes, given in lower case, among some.
pub fn among<const N: usize, const COUNT: usize, T: Copy>(
    name: &[u8],
    known: [(&[u8; N], T); COUNT],
) -> Option<T> {
    let name = folded(<&[u8; N]>::try_from(name).ok()?);
    known.iter().find(|(known, _)| folded(known) == name).map(|(_, meaning)| *meaning)
}

/// A name as a few words, which are the same for the same letters in any case: no other byte of a name becomes a letter
/// or a dash by this. Words overlap where the length asks for that.
#[inline]
fn folded<const N: usize>(name: &[u8; N]) -> (u64, u64, u64) {
    const { assert!(N <= 24) };
    const LOWER: u64 = u64::from_ne_bytes([0x20; 8]);
    let eight = |at: usize| name[at..].first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
    let four = |at: usize| name[at..].first_chunk().map_or(0, |part| u32::from_le_bytes(*part));
    match N {
        16.. => (eight(0) | LOWER, eight(8) | LOWER, eight(N - 8) | LOWER),
        8.. => (eight(0) | LOWER, eight(N - 8) | LOWER, 0),
        4.. => (u64::from(four(0)) | LOWER, u64::from(four(N - 4)) | LOWER, 0),
        _ => (name.iter().fold(0, |word, byte| word << 8 | u64::from(byte | 0x20)), 0, 0),
    }
}

/// Where the first byte stands that is neither letter, digit nor dash. The bounds are looked at once for eight bytes.
fn end_of_token(buffer: &[u8], mut at: usize) -> usize {
    let is_other = |byte: &u8| NAME[usize::from(*byte)] != TOKEN;
    while let Some(block) = buffer.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        match block.iter().position(is_other) {
            Some(place) => return at + place,
            None => at += block.len(),
        }
    }
    let rest = buffer.get(at..).unwrap_or_default();
    at + rest.iter().position(is_other).unwrap_or(rest.len())
}

/// The value without the spaces around it, and where its CR or LF stands.
fn read_value(buffer: &[u8], start: usize) -> Result<Option<(Range, usize)>, Invalid> {
    let Some(end) = end_of_value(buffer, start) else {
        return Ok(None);
    };
    if buffer[end] == 0 {
        return Err(Invalid { up_to: end });
    }
    let mut value = start..end;
    while value.start < value.end && buffer[value.start] == b' ' {
        value.start += 1;
    }
    while value.start < value.end && buffer[value.end - 1] == b' ' {
        value.end -= 1;
    }
    Ok(Some((Range::new(value.start, value.end), end)))
}

/// Where the first CR, LF or NUL stands.
fn end_of_value(buffer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = find_below(buffer, at, 0x0e)?;
        if matches!(buffer[at], b'\r' | b'\n' | 0) {
            return Some(at);
        }
        at += 1;
    }
}

/// Where the first byte below `bound` stands, which is 128 at most. Eight bytes are subtracted from at once: only those
/// below the bound borrow, and only what stands behind the first of them can be wrong by its borrowing.
fn find_below(buffer: &[u8], mut at: usize, bound: u8) -> Option<usize> {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let bounds = u64::from_ne_bytes([bound; 8]);
    while let Some(block) = buffer.get(at..)?.first_chunk::<8>() {
        let word = u64::from_le_bytes(*block);
        let below = word.wrapping_sub(bounds) & !word & HIGH;
        if below != 0 {
            return Some(at + below.trailing_zeros() as usize / 8);
        }
        at += block.len();
    }
    let rest = buffer[at..].iter().position(|byte| *byte < bound)?;
    Some(at + rest)
}

/// Passes over an LF at `at`, with as many CRs before it as `most`. What stands up to `end` is sound without that.
fn finish(
    buffer: &[u8],
    at: usize,
    end: usize,
    most: usize,
    line: Line,
) -> Result<Parsed<Line>, Invalid> {
    let returns = buffer[at..].iter().take(most).take_while(|byte| **byte == b'\r').count();
    match buffer.get(at + returns) {
        Some(b'\n') => Ok(Parsed::Done(line, at + returns + 1)),
        Some(_) => Err(Invalid { up_to: end }),
        None => Ok(Parsed::Incomplete),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Parsed<Line>, Invalid> {
        for cut in 0..text.len() {
            let early = parse_header_line(&text.as_bytes()[..cut], 0, false);
            assert!(!matches!(early, Ok(Parsed::Done(..))), "{text:?} cut at {cut}");
        }
        parse_header_line(text.as_bytes(), 0, false)
    }

    fn header(text: &str) -> (&str, &str, bool) {
        let Ok(Parsed::Done(Line::Header(line), _)) = parse(text) else {
            panic!("{text:?} is no header line");
        };
        let part = |range: Range| std::str::from_utf8(range.of(text.as_bytes())).unwrap();
        (part(line.name), part(line.value), line.is_odd)
    }

    #[test]
    fn names_and_values() {
        assert_eq!(header("Host:  a b  \r\n"), ("Host", "a b", false));
        assert_eq!(header("X-Empty:\n"), ("X-Empty", "", false));
        assert_eq!(header("No-Colon\r\n"), ("No-Colon", "", false));
        assert_eq!(header("a_b: 1\r\n"), ("a_b", "1", true));
        assert_eq!(header("a!: 1\r\n"), ("a!", "1", true));
    }

    #[test]
    fn names_of_any_length_are_told_apart() {
        fn check<const N: usize>(name: &[u8; N]) {
            assert_eq!(among(&name.to_ascii_uppercase(), [(name, 1)]), Some(1));
            for place in 0..N {
                let mut other = *name;
                other[place] = b'q';
                assert_eq!(among(&other, [(name, 1)]), None, "{place} of {N}");
            }
            assert_eq!(among(&name[1..], [(name, 1)]), None);
        }
        check(b"te");
        check(b"via");
        check(b"host");
        check(b"range");
        check(b"referer");
        check(b"if-range");
        check(b"accept-ranges");
        check(b"accept-encoding");
        check(b"www-authenticate");
        check(b"transfer-encoding");
        check(b"if-unmodified-since");
    }

    #[test]
    fn the_blank_line_ends() {
        assert_eq!(parse("\r\n"), Ok(Parsed::Done(Line::End, 2)));
        assert_eq!(parse("\n"), Ok(Parsed::Done(Line::End, 1)));
    }

    #[test]
    fn ambiguous_lines_are_refused() {
        for text in [
            "Host : a\r\n",
            " folded\r\n",
            "\tfolded\r\n",
            ": a\r\n",
            "a: b\0c\r\n",
            "a: b\rc\r\n",
            "a\0: b\r\n",
            "a: b\r\r\n",
            "a\r\r\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_of_responses_may_end_with_more_crs() {
        let line = |text: &str| parse_response_header_line(text.as_bytes(), 0);
        assert!(matches!(line("a: b \r\r\n"), Ok(Parsed::Done(Line::Header(_), 8))));
        assert!(matches!(line("a\r\r\r\n"), Ok(Parsed::Done(Line::Header(_), 5))));
        assert_eq!(line("a: b\r\r"), Ok(Parsed::Incomplete));
        assert!(line("\r\r\n").is_err() && line("a: b\r\rc\n").is_err());
    }

    #[test]
    fn it_is_told_how_far_a_line_is_sound() {
        for (text, sound) in [("a: b\rc\n", "a: b"), ("a: b \rc\n", "a: b"), ("a: b\0\n", "a: b")] {
            assert_eq!(parse(text), Err(Invalid { up_to: sound.len() }), "{text:?}");
        }
    }
}
