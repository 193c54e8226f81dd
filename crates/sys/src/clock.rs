//! Wall-clock time broken into local fields, for logs and dates.

use std::ffi::CStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A second on the wall clock, in the zone that `TZ` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
    /// 0 is Sunday.
    pub weekday: u8,
    /// East of UTC, in seconds.
    pub offset: i32,
}

/// The months as HTTP and nginx's logs spell them.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl LocalTime {
    pub fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month) - 1]
    }
}

/// Seconds since 1970, UTC.
pub fn now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}

/// The local fields of `seconds` since 1970.
pub fn local(seconds: i64) -> LocalTime {
    fields(&local_tm(seconds))
}

/// The fields of `seconds` since 1970 in UTC.
pub fn utc(seconds: i64) -> LocalTime {
    fields(&utc_tm(seconds))
}

/// `seconds` since 1970 in local time as strftime(3) spells it; empty where that is longer than a page.
pub fn format_local(seconds: i64, format: &CStr) -> Vec<u8> {
    spell(&local_tm(seconds), format)
}

/// The same in UTC.
pub fn format_utc(seconds: i64, format: &CStr) -> Vec<u8> {
    spell(&utc_tm(seconds), format)
}

fn spell(tm: &libc::tm, format: &CStr) -> Vec<u8> {
    let mut text = vec![0u8; 4096];
    // SAFETY: `text` has as many bytes as are given, the format ends in a NUL, and a zone's name in `tm` lives as long
    // as the process.
    let length =
        unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), tm) };
    text.truncate(length);
    text
}

fn local_tm(seconds: i64) -> libc::tm {
    // SAFETY: `tm` is a plain C struct for which all zeroes is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, and `localtime_r` keeps neither.
    unsafe { libc::localtime_r(&seconds, &mut tm) };
    tm
}

fn utc_tm(seconds: i64) -> libc::tm {
    // SAFETY: `tm` is a plain C struct for which all zeroes is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call, and `gmtime_r` keeps neither.
    unsafe { libc::gmtime_r(&seconds, &mut tm) };
    tm
}

fn fields(tm: &libc::tm) -> LocalTime {
    LocalTime {
        year: tm.tm_year + 1900,
        month: (tm.tm_mon + 1) as u8,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
        weekday: tm.tm_wday as u8,
        offset: tm.tm_gmtoff as i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_offset_lead_back_to_the_second() {
        let seconds = 1_795_362_109;
        let time = local(seconds);
        let of_day =
            i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
        assert_eq!((seconds + i64::from(time.offset)).rem_euclid(86_400), of_day);
        assert_eq!((time.year, time.month), (2026, 11));
    }

    #[test]
    fn times_are_spelt_as_wished() {
        assert_eq!(format_utc(23_349_600, c"%d.%m.%Y %H:%M %Z"), b"28.09.1970 06:00 GMT");
    }

    #[test]
    fn utc_has_no_offset() {
        let time = utc(23_349_600);
        assert_eq!((time.year, time.month, time.day), (1970, 9, 28));
        assert_eq!((time.hour, time.offset), (6, 0));
    }
}
