//! Dates as HTTP and the logs spell them, each formatted once a second and thread.

use std::cell::RefCell;
use std::ops::Range;
use std::thread::LocalKey;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daemun_sys::clock::{LocalTime, MONTHS, local};

/// A spelling of the second that it is valid for.
struct Spelt {
    second: Range<SystemTime>,
    text: Vec<u8>,
}

type Cache = RefCell<Spelt>;

const EMPTY: Spelt = Spelt { second: UNIX_EPOCH..UNIX_EPOCH, text: Vec::new() };

thread_local! {
    static HTTP: Cache = const { RefCell::new(EMPTY) };
    static LOG: Cache = const { RefCell::new(EMPTY) };
    static ISO8601: Cache = const { RefCell::new(EMPTY) };
}

/// Lends the `Date` field of the present second (RFC 9110, section 6.6.1), its line end included.
pub fn with_http_date_field<R>(take: impl FnOnce(&[u8]) -> R) -> R {
    with(&HTTP, |now| format!("Date: {}\r\n", httpdate::fmt_http_date(now)), take)
}

/// Lends the present second as access logs have it: `22/Nov/2026:15:41:49 +0000`.
pub fn with_log_date<R>(take: impl FnOnce(&[u8]) -> R) -> R {
    with(&LOG, |now| log_date(local(seconds(now) as i64)), take)
}

/// Lends the present second as `2026-11-22T15:41:49+00:00`.
pub fn with_iso8601<R>(take: impl FnOnce(&[u8]) -> R) -> R {
    with(&ISO8601, |now| iso8601(local(seconds(now) as i64)), take)
}

fn with<R>(
    cache: &'static LocalKey<Cache>,
    spell: impl FnOnce(SystemTime) -> String,
    take: impl FnOnce(&[u8]) -> R,
) -> R {
    let now = daemun_event::wall_clock();
    cache.with_borrow_mut(|cached| {
        if !cached.second.contains(&now) {
            let start = UNIX_EPOCH + Duration::from_secs(seconds(now));
            let second = start..start + Duration::from_secs(1);
            *cached = Spelt { second, text: spell(now).into_bytes() };
        }
        take(&cached.text)
    })
}

/// A date as cookies have it: `Sun, 22-Nov-26 15:41:49 GMT`, with four digits of the year beyond 2037.
pub fn cookie_date(seconds: u64) -> String {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let (weekday, day) = (&date[..5], &date[5..7]);
    let (month, year, time) = (&date[8..11], &date[12..16], &date[17..]);
    let year = if year > "2037" { year } else { &year[2..] };
    format!("{weekday}{day}-{month}-{year} {time}")
}

/// Seconds since 1970 of a date in any of HTTP's three spellings (RFC 9110, section 5.6.7). As in nginx, neither the
/// day of the week nor the zone is looked at.
pub fn parse(text: &[u8]) -> Option<i64> {
    if let Some(date) = <&[u8; IMF_FIXDATE]>::try_from(text).ok().and_then(parse_imf_fixdate) {
        return Some(date);
    }
    let text = std::str::from_utf8(text).ok()?;
    let end_of_weekday = text.find([',', ' '])?;
    let rest = text[end_of_weekday + 1..].trim_start_matches(' ');
    if text[end_of_weekday..].starts_with(' ') {
        return parse_asctime(rest);
    }
    let separator = rest.get(2..3).filter(|next| matches!(*next, " " | "-"))?;
    let (day, rest) = (digits(rest.get(..2)?)?, &rest[3..]);
    let (month, rest) = rest.split_once(separator)?;
    let (year, time) = rest.split_once(' ')?;
    let year = match (separator, digits(year)?) {
        (" ", year) => year,
        (_, year @ 0..70) => year + 2000,
        (_, year) => year + 1900,
    };
    timestamp(year, month, day, time.get(..8)?)
}

const IMF_FIXDATE: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The spelling that nearly all dates have: everything has its place.
fn parse_imf_fixdate(text: &[u8; IMF_FIXDATE]) -> Option<i64> {
    let [_, _, _, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', rest @ ..] = text else {
        return None;
    };
    let [y1, y2, y3, y4, b' ', h1, h2, b':', i1, i2, b':', s1, s2, ..] = rest else {
        return None;
    };
    let number = |tens: &u8, ones: &u8| {
        let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
        is_number.then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let month = MONTHS.iter().position(|name| name.as_bytes() == [*m1, *m2, *m3])?;
    let year = number(y1, y2)? * 100 + number(y3, y4)?;
    let time = [number(h1, h2)?, number(i1, i2)?, number(s1, s2)?];
    seconds_of(year, month as i64, number(d1, d2)?, time)
}

/// `Nov  6 08:49:37 1994`, the weekday taken off.
fn parse_asctime(text: &str) -> Option<i64> {
    let (month, rest) = text.split_once(' ')?;
    let (day, rest) = rest.trim_start_matches(' ').split_once(' ')?;
    let (time, year) = rest.split_once(' ')?;
    timestamp(digits(year.get(..4)?)?, month, digits(day)?, time)
}

fn timestamp(year: i64, month: &str, day: i64, time: &str) -> Option<i64> {
    let month = MONTHS.iter().position(|name| *name == month)? as i64;
    let mut parts = time.split(':').map(digits);
    let time = [parts.next()??, parts.next()??, parts.next()??];
    seconds_of(year, month, day, time)
}

/// Of the month counted from 0, and hour, minute and second.
fn seconds_of(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> Option<i64> {
    if hour > 23 || minute > 59 || second > 59 || day < 1 || day > days_of(year, month) {
        return None;
    }
    const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let days_before = DAYS_BEFORE[month as usize] + i64::from(month > 1 && is_leap(year));
    let last = year - 1;
    let days = 365 * last + last / 4 - last / 100 + last / 400 + days_before + day - 1;
    const DAYS_TO_1970: i64 = 719_162;
    Some((days - DAYS_TO_1970) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn digits(text: &str) -> Option<i64> {
    let only =
        !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    only.then(|| text.parse().ok())?
}

fn log_date(time: LocalTime) -> String {
    let month = time.month_name();
    let LocalTime { year, day, hour, minute, second, offset, .. } = time;
    let (sign, offset) = signed(offset);
    format!(
        "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
        offset / 60,
        offset % 60
    )
}

fn iso8601(time: LocalTime) -> String {
    let LocalTime { year, month, day, hour, minute, second, offset, .. } = time;
    let (sign, offset) = signed(offset);
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{:02}:{:02}",
        offset / 60,
        offset % 60
    )
}

/// The sign and the minutes of an offset in seconds.
fn signed(offset: i32) -> (char, i32) {
    (if offset < 0 { '-' } else { '+' }, offset.abs() / 60)
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    milliseconds(time) / 1000
}

/// Milliseconds since 1970.
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_three_spellings() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
        assert_eq!(parse(b"Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        assert_eq!(parse(b"Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "nonsense",
            "06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 2020 12:26:40 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
