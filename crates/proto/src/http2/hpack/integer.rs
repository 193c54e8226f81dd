//! Integers with a prefix (RFC 7541, section 5.1).

/// An integer has more bytes behind its prefix than any that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Bytes that may follow the prefix, as in nginx: numbers up to 2^21 and the prefix.
const MOST: usize = 3;

/// Reads the integer whose prefix is the lower `bits` of the byte at `at`; nothing where its end is
/// missing.
#[inline]
pub fn decode(input: &[u8], at: &mut usize, bits: u32) -> Result<Option<u32>, TooLong> {
    let Some(first) = input.get(*at) else { return Ok(None) };
    let most = (1u32 << bits) - 1;
    let prefix = u32::from(*first) & most;
    if prefix < most {
        *at += 1;
        return Ok(Some(prefix));
    }
    let mut value = prefix;
    for place in 0..MOST {
        let Some(byte) = input.get(*at + 1 + place) else { return Ok(None) };
        value += u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *at += 2 + place;
            return Ok(Some(value));
        }
    }
    Err(TooLong)
}

/// Appends an integer whose first byte has `flags` above its `bits`.
pub fn encode(value: usize, bits: u32, flags: u8, out: &mut Vec<u8>) {
    let most = (1usize << bits) - 1;
    if value < most {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | most as u8);
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_the_appendix() {
        for (value, bits, bytes) in
            [(10, 5, &[0b01010][..]), (1337, 5, &[0b11111, 0b10011010, 0b1010]), (42, 8, &[42])]
        {
            let mut out = Vec::new();
            encode(value, bits, 0, &mut out);
            assert_eq!(out, bytes);
            let mut at = 0;
            assert_eq!(decode(bytes, &mut at, bits), Ok(Some(value as u32)));
            assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn bounds_come_back_and_what_is_cut_is_waited_for() {
        for bits in 4..=8 {
            let most = (1 << bits) - 1;
            for value in [0, most - 1, most, most + 1, most + 127, most + 128, 65_535, 1 << 20] {
                let mut out = Vec::new();
                encode(value, bits, 0, &mut out);
                for cut in 0..out.len() {
                    assert_eq!(decode(&out[..cut], &mut 0, bits), Ok(None));
                }
                assert_eq!(decode(&out, &mut 0, bits), Ok(Some(value as u32)));
            }
        }
    }

    #[test]
    fn four_bytes_behind_the_prefix_are_refused() {
        assert_eq!(decode(&[0xff; 4], &mut 0, 7), Err(TooLong));
        assert_eq!(decode(&[0xff, 0x80, 0x80, 0x80, 0], &mut 0, 7), Err(TooLong));
        assert_eq!(decode(&[0xff, 0x80, 0x80, 0], &mut 0, 7), Ok(Some(127)));
        let most = decode(&[0xff, 0xff, 0xff, 0x7f], &mut 0, 8);
        assert_eq!(most, Ok(Some((1 << 21) - 1 + 255)));
    }
}
