//! How long a response may be served: what its head says, in nginx's reading.

use daemun_proto::decimal::decimal;

use super::super::field::Field;
use super::super::head::Head;
use super::super::settings::Ignored;
use super::format::LONGEST_TEXT;
use crate::date;

/// What a response's head says of storing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub is_cacheable: bool,
    /// Seconds since 1970 until which it is fresh; 0 where the head does not say.
    pub valid_sec: i64,
    /// How many seconds longer it may be served while another is fetched, and where that fails.
    pub updating_sec: i64,
    pub error_sec: i64,
    pub vary: Vec<u8>,
}

/// Reads a head at that time, in seconds since 1970.
pub fn judge(head: &Head, ignored: Ignored, now: i64) -> Verdict {
    let mut reading = Reading {
        verdict: Verdict {
            is_cacheable: true,
            valid_sec: 0,
            updating_sec: 0,
            error_sec: 0,
            vary: Vec::new(),
        },
        now,
        forbids: false,
        has_expired: false,
        has_accel: false,
        age: None,
    };
    for (field, line) in &head.fields {
        let value = line.value.of(&head.bytes);
        let ignores = |what| ignored.contains(what);
        match field {
            Field::SetCookie if !ignores(Ignored::SET_COOKIE) => {
                reading.verdict.is_cacheable = false;
            }
            Field::AccelExpires => {
                reading.has_accel = true;
                if !ignores(Ignored::ACCEL_EXPIRES) {
                    reading.accel_expires(value);
                }
            }
            Field::Expires if !ignores(Ignored::EXPIRES) => reading.expires(value),
            Field::CacheControl if !ignores(Ignored::CACHE_CONTROL) => reading.control(value),
            Field::Vary if !ignores(Ignored::VARY) => reading.vary(value),
            Field::Other if !ignores(Ignored::AGE) && is_age(line.name.of(&head.bytes)) => {
                reading.age.get_or_insert(value);
            }
            _ => {}
        }
    }
    reading.grow_old();
    let mut verdict = reading.verdict;
    verdict.is_cacheable &= !reading.forbids && !reading.has_expired;
    verdict
}

fn is_age(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"age")
}

struct Reading<'h> {
    verdict: Verdict,
    now: i64,
    /// `Cache-Control` says that it is not to be stored.
    forbids: bool,
    /// `Expires` lies in the past.
    has_expired: bool,
    has_accel: bool,
    /// How old it was when it came, as the first line says.
    age: Option<&'h [u8]>,
}

impl Reading<'_> {
    /// A response that another cache had has been fresh for a while already (RFC 9111, section 4.2.3). What the server
    /// itself was told counts from now.
    fn grow_old(&mut self) {
        const OLDEST: u64 = 1 << 31;
        let first = self.age.and_then(|value| value.split(|byte| *byte == b',').next());
        let Some(age) = first.and_then(|first| decimal(first.trim_ascii())) else { return };
        if self.has_accel || self.verdict.valid_sec == 0 {
            return;
        }
        self.verdict.valid_sec -= age.min(OLDEST).cast_signed();
        self.has_expired |= self.verdict.valid_sec <= self.now;
    }

    fn accel_expires(&mut self, value: &[u8]) {
        let (is_absolute, digits) = match value.strip_prefix(b"@") {
            Some(digits) => (true, digits),
            None => (false, value),
        };
        let Some(number) = decimal(digits).and_then(|number| i64::try_from(number).ok()) else {
            return;
        };
        if !is_absolute && number == 0 {
            self.verdict.is_cacheable = false;
            return;
        }
        let start = if is_absolute { 0 } else { self.now };
        self.verdict.valid_sec = number.saturating_add(start);
        self.forbids = false;
        self.has_expired = false;
    }

    fn expires(&mut self, value: &[u8]) {
        if self.verdict.valid_sec != 0 {
            return;
        }
        match date::parse(value) {
            Some(until) if until >= self.now => self.verdict.valid_sec = until,
            _ => self.has_expired = true,
        }
    }

    fn control(&mut self, value: &[u8]) {
        if !(self.verdict.valid_sec != 0 && self.has_accel) {
            let has = |word: &[u8]| find(value, word).is_some();
            if has(b"no-cache") || has(b"no-store") || has(b"private") {
                self.forbids = true;
                return;
            }
            let age = find(value, b"s-maxage=").or_else(|| find(value, b"max-age="));
            match age.map(delta_seconds) {
                None => {}
                Some(None) => {
                    self.verdict.is_cacheable = false;
                    return;
                }
                Some(Some(0)) => {
                    self.forbids = true;
                    return;
                }
                Some(Some(age)) => {
                    self.verdict.valid_sec = self.now.saturating_add(age);
                    self.has_expired = false;
                }
            }
        }
        if let Some(rest) = find(value, b"stale-while-revalidate=") {
            let Some(seconds) = delta_seconds(rest) else {
                self.verdict.is_cacheable = false;
                return;
            };
            self.verdict.updating_sec = seconds;
            self.verdict.error_sec = seconds;
        }
        if let Some(rest) = find(value, b"stale-if-error=") {
            let Some(seconds) = delta_seconds(rest) else {
                self.verdict.is_cacheable = false;
                return;
            };
            self.verdict.error_sec = seconds;
        }
    }

    fn vary(&mut self, value: &[u8]) {
        let verdict = &mut self.verdict;
        // A response that varies with more than the request is like no other.
        if value.split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*") {
            verdict.is_cacheable = false;
        }
        if !verdict.is_cacheable {
            return;
        }
        if !verdict.vary.is_empty() {
            verdict.vary.extend_from_slice(b", ");
        }
        verdict.vary.extend_from_slice(value);
        if verdict.vary.len() > LONGEST_TEXT {
            verdict.is_cacheable = false;
        }
    }
}

/// What stands behind a word, in any case.
fn find<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let at = text.windows(word.len()).position(|window| window.eq_ignore_ascii_case(word))?;
    Some(&text[at + word.len()..])
}

/// A number that ends with the text, or before a comma, a semicolon or a space.
fn delta_seconds(text: &[u8]) -> Option<i64> {
    let end = text.iter().position(|byte| matches!(byte, b',' | b';' | b' '));
    let digits = &text[..end.unwrap_or(text.len())];
    digits.iter().try_fold(0i64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(digit.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemun_proto::http1::{HeaderLine, Range};

    const NOW: i64 = 1_000_000;

    fn head(lines: &[(&str, &str)]) -> Head {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(text.as_bytes());
            Range { start, end: bytes.len() as u32 }
        };
        let fields = lines
            .iter()
            .map(|(name, value)| {
                let line = HeaderLine { name: put(name), value: put(value), is_odd: false };
                (Field::of(name.as_bytes()), line)
            })
            .collect();
        let mut head = Head::default();
        (head.bytes, head.fields) = (bytes.into(), fields);
        head
    }

    fn verdict(lines: &[(&str, &str)]) -> Verdict {
        judge(&head(lines), Ignored::empty(), NOW)
    }

    /// Seconds that it is fresh, where it may be stored.
    fn lifetime(lines: &[(&str, &str)]) -> Option<i64> {
        let verdict = verdict(lines);
        verdict.is_cacheable.then(|| match verdict.valid_sec {
            0 => 0,
            valid => valid - NOW,
        })
    }

    #[test]
    fn accel_expires_goes_before_cache_control_and_that_before_expires() {
        const PAST: (&str, &str) = ("Expires", "Thu, 01 Jan 1970 00:00:01 GMT");
        let (accel, control) = (("X-Accel-Expires", "7"), ("Cache-Control", "max-age=60"));
        for lines in [[accel, control, PAST], [PAST, control, accel], [control, accel, PAST]] {
            assert_eq!(lifetime(&lines), Some(7), "{lines:?}");
        }
        assert_eq!(lifetime(&[PAST, control]), Some(60));
        assert_eq!(lifetime(&[control, PAST]), Some(60));
        assert_eq!(lifetime(&[PAST]), None);
        assert_eq!(lifetime(&[("X-Accel-Expires", "@1000009")]), Some(9));
        assert_eq!(lifetime(&[("X-Accel-Expires", "0"), control]), None);
        assert_eq!(lifetime(&[("X-Accel-Expires", "x")]), Some(0));
        assert_eq!(lifetime(&[("Cache-Control", "no-store"), accel]), Some(7));
        assert_eq!(lifetime(&[accel, ("Cache-Control", "no-store")]), Some(7));
    }

    #[test]
    fn cache_control_forbids_wherever_it_says_so() {
        for value in ["no-cache", "max-age=60, no-store", "PRIVATE", "max-age=0", "max-age=x"] {
            assert_eq!(lifetime(&[("Cache-Control", value)]), None, "{value}");
        }
        assert_eq!(lifetime(&[("Cache-Control", "max-age=1, s-maxage=9")]), Some(9));
        let two = [("Cache-Control", "max-age=5"), ("Cache-Control", "no-cache")];
        assert_eq!(lifetime(&two), None);
        assert_eq!(lifetime(&[("Cache-Control", "public")]), Some(0));
    }

    #[test]
    fn extensions_count_beside_accel_expires() {
        let lines = [
            ("X-Accel-Expires", "5"),
            ("Cache-Control", "max-age=9, stale-while-revalidate=20, stale-if-error=30"),
        ];
        let verdict = verdict(&lines);
        assert_eq!((verdict.updating_sec, verdict.error_sec), (20, 30));
        assert_eq!(verdict.valid_sec, NOW + 5);
    }

    #[test]
    fn cookies_and_endless_variants_are_not_stored() {
        assert_eq!(lifetime(&[("Set-Cookie", "a=b")]), None);
        assert_eq!(lifetime(&[("Vary", "*")]), None);
        assert_eq!(lifetime(&[("Vary", "Accept, *")]), None);
        let long = "x".repeat(129);
        assert_eq!(lifetime(&[("Vary", &long)]), None);
        assert_eq!(verdict(&[("Vary", "A"), ("Vary", "B")]).vary, b"A, B");
    }

    #[test]
    fn an_age_is_taken_off_the_lifetime() {
        let control = ("Cache-Control", "max-age=60");
        for (age, left) in [("20", Some(40)), ("20, 5", Some(40)), ("60", None), ("x", Some(60))] {
            assert_eq!(lifetime(&[("Age", age), control]), left, "{age}");
            assert_eq!(lifetime(&[control, ("age", age)]), left, "{age}");
        }
        assert_eq!(lifetime(&[("Age", "9"), ("X-Accel-Expires", "60")]), Some(60));
        assert_eq!(lifetime(&[("Age", "9")]), Some(0));
        let judged = judge(&head(&[("Age", "20"), control]), Ignored::AGE, NOW);
        assert_eq!(judged.valid_sec, NOW + 60);
    }

    #[test]
    fn what_is_ignored_says_nothing() {
        let ignored = Ignored::SET_COOKIE | Ignored::VARY | Ignored::CACHE_CONTROL;
        let lines = [("Set-Cookie", "a"), ("Vary", "*"), ("Cache-Control", "no-store")];
        assert!(judge(&head(&lines), ignored, NOW).is_cacheable);
    }
}
