//! Values as nginx writes them: sizes, times, flags and numbers. None means that the text is no such value, or that the
//! value does not fit.

const KILO: i64 = 1 << 10;
const MEGA: i64 = 1 << 20;
const GIGA: i64 = 1 << 30;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
const MONTH: i64 = 30 * DAY;
const YEAR: i64 = 365 * DAY;

/// A size in memory in bytes: `512`, `8k`, `1M`.
pub fn size(text: &[u8]) -> Option<usize> {
    let (digits, scale) = match text {
        [digits @ .., b'k' | b'K'] => (digits, KILO),
        [digits @ .., b'm' | b'M'] => (digits, MEGA),
        _ => (text, 1),
    };
    scaled(digits, scale)?.try_into().ok()
}

/// A size of a file in bytes: as [`size`], and `1g`.
pub fn offset(text: &[u8]) -> Option<u64> {
    let (digits, scale) = match text {
        [digits @ .., b'k' | b'K'] => (digits, KILO),
        [digits @ .., b'm' | b'M'] => (digits, MEGA),
        [digits @ .., b'g' | b'G'] => (digits, GIGA),
        _ => (text, 1),
    };
    scaled(digits, scale)?.try_into().ok()
}

/// A time in milliseconds: `1h 30m`, `10ms`, `90` (seconds). Years and months are refused, as nginx refuses them here.
pub fn milliseconds(text: &[u8]) -> Option<u64> {
    time(text, Precision::Milliseconds)
}

/// A time in seconds: `1y 6M`, `1d12h`, `90`.
pub fn seconds(text: &[u8]) -> Option<u64> {
    time(text, Precision::Seconds)
}

/// `on` or `off`, in any case.
pub fn flag(text: &[u8]) -> Option<bool> {
    if text.eq_ignore_ascii_case(b"on") {
        return Some(true);
    }
    text.eq_ignore_ascii_case(b"off").then_some(false)
}

/// Decimal digits without a sign.
pub fn integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0, |value: i64, &byte| append_digit(value, byte))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    Seconds,
    Milliseconds,
}

/// The units of a time, in the only order in which they may stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    None,
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    /// A number without a unit, followed by a space: seconds, after which nothing but another bare number may come.
    Bare,
}

impl Unit {
    fn seconds(self) -> i64 {
        match self {
            Unit::Year => YEAR,
            Unit::Month => MONTH,
            Unit::Week => WEEK,
            Unit::Day => DAY,
            Unit::Hour => HOUR,
            Unit::Minute => MINUTE,
            Unit::None | Unit::Second | Unit::Millisecond | Unit::Bare => 1,
        }
    }
}

fn time(text: &[u8], precision: Precision) -> Option<u64> {
    let per_second = match precision {
        Precision::Seconds => 1,
        Precision::Milliseconds => 1000,
    };
    // Where milliseconds are asked for, years and months are refused as if they came too late.
    let mut last = match precision {
        Precision::Seconds => Unit::None,
        Precision::Milliseconds => Unit::Month,
    };
    let mut total: i64 = 0;
    let mut value: i64 = 0;
    let mut any_digit = false;
    let mut rest = text;

    while let [byte, tail @ ..] = rest {
        rest = tail;
        if byte.is_ascii_digit() {
            value = append_digit(value, *byte)?;
            any_digit = true;
            continue;
        }
        let unit = match (byte, rest.first()) {
            (b'y', _) => Unit::Year,
            (b'M', _) => Unit::Month,
            (b'w', _) => Unit::Week,
            (b'd', _) => Unit::Day,
            (b'h', _) => Unit::Hour,
            (b'm', Some(b's')) if precision == Precision::Seconds => return None,
            (b'm', Some(b's')) => Unit::Millisecond,
            (b'm', _) => Unit::Minute,
            (b's', _) => Unit::Second,
            (b' ', _) => Unit::Bare,
            _ => return None,
        };
        let latest = if unit == Unit::Bare { Unit::Second } else { unit };
        if last >= latest {
            return None;
        }
        if unit == Unit::Millisecond {
            rest = &rest[1..];
        }
        last = unit;
        let scale = if unit == Unit::Millisecond { 1 } else { unit.seconds() * per_second };
        total = total.checked_add(value.checked_mul(scale)?)?;
        value = 0;
        while let [b' ', tail @ ..] = rest {
            rest = tail;
        }
    }

    if !any_digit {
        return None;
    }
    let total = total.checked_add(value.checked_mul(per_second)?)?;
    total.try_into().ok()
}

fn scaled(digits: &[u8], scale: i64) -> Option<i64> {
    integer(digits)?.checked_mul(scale)
}

fn append_digit(value: i64, byte: u8) -> Option<i64> {
    if !byte.is_ascii_digit() {
        return None;
    }
    value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(b"512"), Some(512));
        assert_eq!(size(b"8k"), Some(8192));
        assert_eq!(size(b"1M"), Some(1 << 20));
        for wrong in [
            "",
            "k",
            "1g",
            "1kk",
            "-1",
            "+1",
            "1.5m",
            " 1",
            "9223372036854775808",
            "9007199254740992k",
        ] {
            assert_eq!(size(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(size(b"9223372036854775807"), Some(i64::MAX as usize));
    }

    #[test]
    fn offsets_may_be_in_gigabytes() {
        assert_eq!(offset(b"10G"), Some(10 << 30));
        assert_eq!(offset(b"1g"), Some(1 << 30));
        assert_eq!(offset(b"8589934592g"), None);
    }

    #[test]
    fn times_in_milliseconds() {
        let good: [(&str, u64); 12] = [
            ("90", 90_000),
            ("10ms", 10),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1w2d3h4m5s6ms", 788_645_006),
            ("1m5", 65_000),
            ("1h 5", 3_605_000),
            ("5 ", 5_000),
            ("0", 0),
            ("0s", 0),
            ("1hm", 3_600_000),
            ("9223372036854775", 9_223_372_036_854_775_000),
        ];
        for (text, expected) in good {
            assert_eq!(milliseconds(text.as_bytes()), Some(expected), "{text}");
        }
        let wrong = [
            "",
            "s",
            "1y",
            "1M",
            "1m1h",
            "1s1s",
            "5 5 ",
            "1s ms1m",
            "1x",
            "-1",
            "1.5s",
            "9223372036854776",
            "1ms1",
        ];
        for text in &wrong[..wrong.len() - 1] {
            assert_eq!(milliseconds(text.as_bytes()), None, "{text}");
        }
        // nginx takes digits after the last unit as seconds, whatever the unit was.
        assert_eq!(milliseconds(b"1ms1"), Some(1_001));
    }

    #[test]
    fn times_in_seconds() {
        assert_eq!(seconds(b"1y"), Some(31_536_000));
        assert_eq!(seconds(b"1y1M"), Some(34_128_000));
        assert_eq!(seconds(b"1d12h"), Some(129_600));
        assert_eq!(seconds(b"10ms"), None);
        assert_eq!(seconds(b"1M1y"), None);
        assert_eq!(seconds(b"292471208678y"), None);
    }

    #[test]
    fn flags_and_integers() {
        assert_eq!(flag(b"On"), Some(true));
        assert_eq!(flag(b"OFF"), Some(false));
        assert_eq!(flag(b"yes"), None);
        assert_eq!(integer(b"0042"), Some(42));
        assert_eq!(integer(b""), None);
        assert_eq!(integer(b"9223372036854775808"), None);
    }
}
