//! The Huffman code of RFC 7541, appendix B.
//!
//! The code is canonical: codes of one length are numbers in a row, in the order of their symbols,
//! so that the lengths alone define it. Codes of up to twelve bits, which all common letters have,
//! are found by a look into a table, two at once where both are short.

/// Length of each byte's code in bits.
#[rustfmt::skip]
static LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// The end of a string has a code of its own, which may not be sent: the only one of 30 bits beside
/// those of `\n`, `\r` and 22, behind which it stands.
const LONGEST: usize = 30;
/// Bits that the table looks at: two digits or lower-case letters, mostly.
const SHORT: usize = 12;

/// Code and length of each byte.
static CODES: [(u32, u8); 256] = {
    let mut codes = [(0, 0); 256];
    let (mut length, mut next) = (1, 0u32);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                codes[symbol] = (next, length as u8);
                next += 1;
            }
            symbol += 1;
        }
        next <<= 1;
        length += 1;
    }
    codes
};

/// What the next bits begin with: one symbol or two, how many, and the length of their codes; a
/// length of zero stands for a longer code.
static STARTS: [Start; 1 << SHORT] = {
    let mut starts = [Start { symbols: [0; 2], count: 0, length: 0 }; 1 << SHORT];
    let mut symbol = 0;
    while symbol < 256 {
        let (code, length) = CODES[symbol];
        if length as usize <= SHORT {
            let rest = SHORT - length as usize;
            let mut filling = 0;
            while filling < 1 << rest {
                let start = ((code as usize) << rest) + filling;
                starts[start] = Start { symbols: [symbol as u8, 0], count: 1, length };
                filling += 1;
            }
        }
        symbol += 1;
    }
    let mut start = 0;
    while start < 1 << SHORT {
        let first = starts[start];
        // What follows the first symbol, filled up with zeros: a second one has to be short enough
        // to be there whole.
        let second = starts[(start << first.length) & ((1 << SHORT) - 1)];
        let length = first.length + LENGTHS[second.symbols[0] as usize];
        if first.length > 0 && second.length > 0 && length as usize <= SHORT {
            let symbols = [first.symbols[0], second.symbols[0]];
            starts[start] = Start { symbols, count: 2, length };
        }
        start += 1;
    }
    starts
};

#[derive(Clone, Copy)]
struct Start {
    symbols: [u8; 2],
    count: u8,
    length: u8,
}

/// For each length of the longer codes: the first code, how many there are, and where their symbols
/// begin in `SYMBOLS`.
static LONGER: [(u32, u32, usize); LONGEST + 1] = {
    let mut longer = [(0, 0, 0); LONGEST + 1];
    let (mut length, mut place) = (SHORT + 1, 0);
    while length <= LONGEST {
        let (mut first, mut count, mut symbol) = (0, 0, 0);
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                if count == 0 {
                    first = CODES[symbol].0;
                }
                count += 1;
            }
            symbol += 1;
        }
        longer[length] = (first, count, place);
        place += count as usize;
        length += 1;
    }
    longer
};

/// Symbols of the longer codes, in the order of their codes.
static SYMBOLS: [u8; 256] = {
    let mut symbols = [0; 256];
    let (mut length, mut place) = (SHORT + 1, 0);
    while length <= LONGEST {
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                symbols[place] = symbol as u8;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    symbols
};

/// The bytes are no Huffman string: they have the code for the end, or do not end with ones. There may
/// be eight of them, one more than the RFC has it: nginx takes a whole byte of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Appends what `input` stands for.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
    let start = out.len();
    // No code is shorter than five bits. Two bytes more are room to write a pair anywhere.
    out.resize(start + input.len() * 8 / 5 + 2, 0);
    let length = fill(input, &mut out[start..]);
    out.truncate(start + length.unwrap_or(0));
    length.map(|_| ())
}

/// Fills the slice from its beginning, which is long enough for any text of that input.
fn fill(input: &[u8], text: &mut [u8]) -> Result<usize, Invalid> {
    // The upper `count` bits are those that have been read and stand for nothing yet. What is
    // behind them is either zero or what the next bytes will put there.
    let (mut bits, mut count) = (0u64, 0u32);
    let (mut at, mut length) = (0, 0);
    loop {
        if count < LONGEST as u32 {
            match input.get(at..).and_then(<[u8]>::first_chunk) {
                Some(eight) => {
                    bits |= u64::from_be_bytes(*eight) >> count;
                    let bytes = (63 - count) / 8;
                    at += bytes as usize;
                    count += bytes * 8;
                }
                None => {
                    while count <= 56 && at < input.len() {
                        bits |= u64::from(input[at]) << (56 - count);
                        at += 1;
                        count += 8;
                    }
                }
            }
        }
        let mut next = STARTS[(bits >> (64 - SHORT)) as usize];
        if next.length == 0 {
            match longer(bits) {
                Some(found) => next = found,
                None if count < LONGEST as u32 => break,
                None => return Err(Invalid),
            }
        }
        // That happens at the input's end alone.
        if u32::from(next.length) > count {
            (next.count, next.length) = (1, LENGTHS[usize::from(next.symbols[0])]);
            if u32::from(next.length) > count {
                break;
            }
        }
        *text.get_mut(length..).and_then(<[u8]>::first_chunk_mut).ok_or(Invalid)? = next.symbols;
        length += usize::from(next.count);
        bits <<= next.length;
        count -= u32::from(next.length);
    }
    let are_ones = bits | u64::MAX >> count == u64::MAX;
    if count <= 8 && are_ones { Ok(length) } else { Err(Invalid) }
}

#[cold]
fn longer(bits: u64) -> Option<Start> {
    (SHORT + 1..=LONGEST).find_map(|length| {
        let code = (bits >> (64 - length)) as u32;
        let (first, count, place) = LONGER[length];
        let offset = code.wrapping_sub(first);
        (offset < count).then(|| {
            let symbols = [SYMBOLS[place + offset as usize], 0];
            Start { symbols, count: 1, length: length as u8 }
        })
    })
}

/// How many bytes `text` takes when encoded.
pub fn encoded_length(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|byte| usize::from(LENGTHS[usize::from(*byte)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of each byte, and ones up to a whole byte.
pub fn encode(text: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u64, 0u32);
    for byte in text {
        let (code, size) = CODES[usize::from(byte)];
        bits = bits << size | u64::from(code);
        count += u32::from(size);
        while count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        out.push((bits << (8 - count)) as u8 | (0xff >> count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text.iter().copied(), &mut out);
        assert_eq!(out.len(), encoded_length(text));
        out
    }

    #[test]
    fn the_code_is_that_of_the_appendix() {
        for (symbol, code, length) in [
            (b'0', 0x0, 5),
            (b' ', 0x14, 6),
            (b':', 0x5c, 7),
            (b'X', 0xfc, 8),
            (b'!', 0x3f8, 10),
            (0, 0x1ff8, 13),
            (b'\\', 0x7fff0, 19),
            (249, 0xffffffe, 28),
            (b'\n', 0x3ffffffc, 30),
            (22, 0x3ffffffe, 30),
        ] {
            assert_eq!(CODES[usize::from(symbol)], (code, length), "{symbol}");
        }
    }

    #[test]
    fn every_pair_of_bytes_comes_back() {
        for first in 0..=255 {
            for second in 0..=255 {
                let text = [first, second, b'a', second, first];
                assert_eq!(decoded(&encoded(&text)).as_deref(), Ok(&text[..]));
            }
        }
        let all: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert_eq!(decoded(&encoded(&all)), Ok(all));
    }

    #[test]
    fn strings_end_with_no_more_than_eight_ones() {
        // "a" is 00011: three ones follow.
        assert_eq!(decoded(&[0b0001_1111]), Ok(b"a".to_vec()));
        for wrong in [
            &[0b0001_1110][..],
            &[0b0001_1011],
            &[0b0001_1000],
            &[0b0001_1111, 0xff],
            &[0xff, 0xff],
            &[0xff, 0xff, 0xff],
            &[0],
        ] {
            assert_eq!(decoded(wrong), Err(Invalid), "{wrong:?}");
            // The same behind so much that it is read eight bytes at once.
            let mut long = encoded(&[b'0'; 24]);
            long.extend(wrong);
            assert_eq!(decoded(&long), Err(Invalid), "{wrong:?}");
        }
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }

    #[test]
    fn the_end_has_no_code_that_may_be_sent() {
        let end = [0xff, 0xff, 0xff, 0xff];
        assert_eq!(decoded(&end), Err(Invalid));
        for before in 0..12 {
            for behind in [0, 1, 12] {
                let mut input = encoded(&vec![b'&'; before]);
                input.extend(end);
                input.extend(encoded(&vec![b'0'; 8 * behind]));
                assert_eq!(decoded(&input), Err(Invalid), "{before} {behind}");
            }
        }
    }
}
