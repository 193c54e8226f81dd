//! Times of certificates (RFC 5280 section 4.1.2.5), as seconds since 1970 and as OpenSSL prints them.

use std::fmt;

use super::der::Value;

/// A moment, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

const UTC_TIME: u8 = 23;
const GENERALIZED_TIME: u8 = 24;

impl Time {
    /// UTCTime or GeneralizedTime.
    pub fn parse(value: Value<'_>) -> Option<Time> {
        let digits = value.content.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let (year, rest) = match (value.tag, digits.len()) {
            (UTC_TIME, 10 | 12) => {
                let year = two(digits);
                (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
            }
            (GENERALIZED_TIME, 12 | 14) => (two(digits) * 100 + two(&digits[2..]), &digits[4..]),
            _ => return None,
        };
        let seconds = rest.get(8..).map_or(0, two);
        let (month, day) = (two(rest), two(&rest[2..]));
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let days = days_from_civil(year, month, day);
        let (hours, minutes) = (two(&rest[4..]), two(&rest[6..]));
        Some(Time(days * 86_400 + hours * 3600 + minutes * 60 + seconds))
    }
}

fn two(digits: &[u8]) -> i64 {
    match digits {
        [tens, ones, ..] => i64::from(tens - b'0') * 10 + i64::from(ones - b'0'),
        _ => 0,
    }
}

/// Days since 1970, in the Gregorian calendar: years begin in March, so that leap days end them.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl fmt::Display for Time {
    /// `Nov 30 19:34:37 2026 GMT`, as ASN1_TIME_print(3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400));
        let of_day = self.0.rem_euclid(86_400);
        let month = MONTHS[month as usize - 1];
        let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{month} {day:2} {hours:02}:{minutes:02}:{seconds:02} {year} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tag: u8, content: &[u8]) -> Option<Time> {
        Time::parse(Value { tag, content, whole: content })
    }

    #[test]
    fn times_are_read_and_printed() {
        for (tag, text, seconds, printed) in [
            (UTC_TIME, "261130193437Z", 1_796_067_277, "Nov 30 19:34:37 2026 GMT"),
            (UTC_TIME, "700101000000Z", 0, "Jan  1 00:00:00 1970 GMT"),
            (UTC_TIME, "500101000000Z", -631_152_000, "Jan  1 00:00:00 1950 GMT"),
            (GENERALIZED_TIME, "20000229235959Z", 951_868_799, "Feb 29 23:59:59 2000 GMT"),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799, "Dec 31 23:59:59 9999 GMT"),
        ] {
            let time = parse(tag, text.as_bytes()).unwrap();
            assert_eq!((time.0, &*time.to_string()), (seconds, printed));
        }
        for text in ["261130193437", "261330193437Z", "2611301934x7Z", "Z", ""] {
            assert_eq!(parse(UTC_TIME, text.as_bytes()), None, "{text}");
        }
    }
}
