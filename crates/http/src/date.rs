//! Dates as HTTP and the logs spell them, each formatted once a second and thread.

use std::cell::RefCell;
use std::thread::LocalKey;
use std::time::{SystemTime, UNIX_EPOCH};

use daemun_sys::clock::{LocalTime, local};

/// A spelling of the second it was made for.
struct Spelt {
    second: u64,
    text: Vec<u8>,
}

type Cache = RefCell<Spelt>;

const EMPTY: Spelt = Spelt {
    second: u64::MAX,
    text: Vec::new(),
};

thread_local! {
    static HTTP: Cache = const { RefCell::new(EMPTY) };
    static LOG: Cache = const { RefCell::new(EMPTY) };
    static ISO8601: Cache = const { RefCell::new(EMPTY) };
}

/// Lends the present second as an IMF-fixdate (RFC 9110, section 5.6.7).
pub fn with_http_date<R>(take: impl FnOnce(&[u8]) -> R) -> R {
    with(&HTTP, httpdate::fmt_http_date, take)
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
        let second = seconds(now);
        if cached.second != second {
            *cached = Spelt {
                second,
                text: spell(now).into_bytes(),
            };
        }
        take(&cached.text)
    })
}

fn log_date(time: LocalTime) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        offset,
        ..
    } = time;
    let month = MONTHS[usize::from(month) - 1];
    let (sign, offset) = signed(offset);
    format!(
        "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
        offset / 60,
        offset % 60
    )
}

fn iso8601(time: LocalTime) -> String {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        offset,
        ..
    } = time;
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
