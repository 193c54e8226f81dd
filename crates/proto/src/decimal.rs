//! Numbers as protocols spell them.

/// Reads digits and nothing beside them (`1*DIGIT`, RFC 9110, section 8.6), no more than a file's size may be: the
/// largest signed number of 64 bits.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    (number <= i64::MAX as u64).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn digits_are_read() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"00120"), Some(120));
    }

    #[test]
    fn what_no_file_can_have_is_no_number() {
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        assert_eq!(decimal(b"9223372036854775808"), None);
        assert_eq!(decimal(b"18446744073709551616"), None);
    }

    #[test]
    fn nothing_but_digits_is_taken() {
        for text in ["", "+1", "-1", " 1", "1 ", "1_000", "0x1", "\u{661}"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text:?}");
        }
    }
}
