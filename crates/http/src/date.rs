//! Dates as HTTP and the logs spell them, each formatted once a second and thread.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

struct HttpDate {
    second: u64,
    text: [u8; 29],
}

thread_local! {
    static HTTP_DATE: RefCell<HttpDate> = const { RefCell::new(HttpDate { second: u64::MAX, text: [0; 29] }) };
}

/// Lends the present second as an IMF-fixdate (RFC 9110, section 5.6.7).
pub fn with_http_date<R>(take: impl FnOnce(&[u8]) -> R) -> R {
    let now = daemun_event::wall_clock();
    HTTP_DATE.with_borrow_mut(|cached| {
        let second = seconds(now);
        if cached.second != second {
            cached.second = second;
            cached.text.copy_from_slice(httpdate::fmt_http_date(now).as_bytes());
        }
        take(&cached.text)
    })
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
