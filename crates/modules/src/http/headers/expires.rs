//! `expires`: until when a response is fresh.

use bytes::Bytes;
use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_http::date;
use daemun_http::request::Request;
use daemun_http::response::LastModified;
use daemun_sys::clock;

/// When a response expires. Times are seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expires {
    Off,
    Epoch,
    Max,
    /// From now.
    Access(i64),
    /// From the file's last modification; from now where there is none.
    Modified(i64),
    /// At that second of the day, local time.
    Daily(i64),
    Computed {
        value: Script,
        after_modification: bool,
    },
}

const DAY: i64 = 24 * 60 * 60;

pub(super) fn read(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Expires, Fault> {
    let (word, after_modification) = match &*directive.args {
        [word] => (word, false),
        [modified, word] if modified == "modified" => (word, true),
        _ => return Err("invalid value".into()),
    };
    let script = loader.script(word)?;
    match script.as_literal() {
        Some(text) => {
            parse(text, after_modification).map_err(|reason| Fault::from(reason).at(word.span))
        }
        None => Ok(Expires::Computed { value: script, after_modification }),
    }
}

/// The error is nginx's reason.
fn parse(text: &[u8], after_modification: bool) -> Result<Expires, &'static str> {
    match text {
        b"epoch" if !after_modification => return Ok(Expires::Epoch),
        b"max" if !after_modification => return Ok(Expires::Max),
        b"off" if !after_modification => return Ok(Expires::Off),
        [b'@', ..] if after_modification => {
            return Err("daily time cannot be used with \"modified\" parameter");
        }
        _ => {}
    }
    let seconds = |text| {
        let seconds = units::seconds(text).and_then(|seconds| i64::try_from(seconds).ok());
        seconds.ok_or("invalid value")
    };
    let time = match text {
        [b'@', time @ ..] => {
            return match seconds(time)? {
                time if time > DAY => Err("daily time value must be less than 24 hours"),
                time => Ok(Expires::Daily(time)),
            };
        }
        [b'+', time @ ..] => seconds(time)?,
        [b'-', time @ ..] => -seconds(time)?,
        time => seconds(time)?,
    };
    Ok(if after_modification { Expires::Modified(time) } else { Expires::Access(time) })
}

/// Sets `Expires` and `Cache-Control`.
pub(super) fn apply(expires: &Expires, request: &mut Request) {
    let now = date::seconds(daemun_event::wall_clock()) as i64;
    let (at, cache_control) = match expires {
        Expires::Off => return,
        Expires::Epoch => (Bytes::from_static(b"Thu, 01 Jan 1970 00:00:01 GMT"), NO_CACHE),
        Expires::Max => (
            Bytes::from_static(b"Thu, 31 Dec 2037 23:55:55 GMT"),
            Bytes::from_static(b"max-age=315360000"),
        ),
        Expires::Access(time) => limited(now + time, now, *time < 0),
        Expires::Modified(0) => limited(now, now, false),
        Expires::Modified(time) => match &request.response.last_modified {
            Some(modified) => limited(modified.seconds() + time, now, *time < 0),
            None => limited(now + time, now, *time < 0),
        },
        Expires::Daily(time) => limited(next_daily(now, *time), now, false),
        Expires::Computed { value, after_modification } => {
            // A value that makes no sense has no effect.
            if let Ok(expires) = parse(&value.value(request), *after_modification) {
                apply(&expires, request);
            }
            return;
        }
    };
    let response = &mut request.response;
    response.replace("Expires", at);
    response.replace("Cache-Control", cache_control);
}

const NO_CACHE: Bytes = Bytes::from_static(b"no-cache");

/// The two fields for a response that expires at `at`.
fn limited(at: i64, now: i64, is_past: bool) -> (Bytes, Bytes) {
    let cache_control = match at - now {
        age @ 0.. if !is_past => format!("max-age={age}").into(),
        _ => NO_CACHE,
    };
    (LastModified::new(at).text, cache_control)
}

/// When the clock shows that second of a day next.
fn next_daily(now: i64, second: i64) -> i64 {
    let today = clock::local(now);
    let elapsed =
        i64::from(today.hour) * 3600 + i64::from(today.minute) * 60 + i64::from(today.second);
    let next = now - elapsed + second;
    let next = if next > now { next } else { next + DAY };
    // Across a change of the zone's offset the same time of day is another moment.
    next + i64::from(today.offset - clock::local(next).offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_nginx_words() {
        assert_eq!(parse(b"epoch", false), Ok(Expires::Epoch));
        assert_eq!(parse(b"-1", false), Ok(Expires::Access(-1)));
        assert_eq!(parse(b"+1h", true), Ok(Expires::Modified(3600)));
        assert_eq!(parse(b"@15h30m", false), Ok(Expires::Daily(55_800)));
        assert_eq!(parse(b"max", true), Err("invalid value"));
        assert_eq!(parse(b"@25h", false), Err("daily time value must be less than 24 hours"));
        assert_eq!(
            parse(b"@1h", true),
            Err("daily time cannot be used with \"modified\" parameter")
        );
    }

    #[test]
    fn what_is_past_is_not_cached() {
        assert_eq!(limited(160, 100, false).1, "max-age=60");
        assert_eq!(limited(100, 100, false).1, "max-age=0");
        assert_eq!(limited(99, 100, false).1, NO_CACHE);
        assert_eq!(limited(100, 100, true).1, NO_CACHE);
    }

    #[test]
    fn the_next_time_of_day_is_within_a_day() {
        for now in [1_795_362_109, 1_795_392_000, 1_795_400_000] {
            let next = next_daily(now, 3600);
            assert!(next > now && next <= now + DAY + 3600, "{now} {next}");
            let time = clock::local(next);
            assert_eq!((time.hour, time.minute, time.second), (1, 0, 0));
        }
    }
}
