//! nginx's arithmetic of rates, in whole thousandths of a request.

use daemun_event::Millis;

/// Thousandths of a request a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

/// What somebody has asked for beyond the rate: thousandths of a request, as of a moment on the
/// clock that all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    pub thousandths: u64,
    pub last: Millis,
}

/// How long nobody must have asked for a state to be given up before its turn.
pub const FORGOTTEN_AFTER: u64 = 60_000;

impl Rate {
    /// One request a second.
    pub const ONE: Rate = Rate(1000);

    /// `N`, `Nr/s` or `Nr/m`, as `rate=` has it.
    pub fn parse(text: &[u8]) -> Option<Rate> {
        let (number, seconds) = match text {
            [number @ .., b'r', b'/', b's'] => (number, 1),
            [number @ .., b'r', b'/', b'm'] => (number, 60),
            number => (number, 1),
        };
        let number = daemun_conf::units::integer(number).filter(|number| *number > 0)?;
        let number = u64::try_from(number).ok()?;
        Some(Rate(number.saturating_mul(1000) / seconds))
    }

    /// The excess with one more request now.
    pub fn add(self, before: Excess, now: Millis) -> Excess {
        let elapsed = elapsed(before.last, now);
        let allowed = self.0.saturating_mul(elapsed) / 1000;
        let thousandths = before.thousandths.saturating_add(1000).saturating_sub(allowed);
        // a process whose clock is behind leaves the time as it is
        let last = if elapsed == 0 { before.last } else { now };
        Excess { thousandths, last }
    }

    /// How long a request waits for what it is beyond `mark`.
    pub fn delay(self, excess: Excess, mark: u64) -> Millis {
        excess.thousandths.saturating_sub(mark).saturating_mul(1000) / self.0
    }

    /// Nobody has asked for a minute, and nothing of the excess is left.
    pub fn has_forgotten(self, excess: Excess, now: Millis) -> bool {
        let elapsed = (now.wrapping_sub(excess.last) as i64).unsigned_abs();
        elapsed >= FORGOTTEN_AFTER && excess.thousandths <= self.0.saturating_mul(elapsed) / 1000
    }
}

/// Milliseconds between two moments, of which another process may have seen the first later than
/// this one sees the second; so far behind as a minute, the clock was changed.
fn elapsed(last: Millis, now: Millis) -> u64 {
    match now.wrapping_sub(last) as i64 {
        ..-60_000 => 1,
        -60_000..0 => 0,
        elapsed => elapsed.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_thousandths() {
        for (text, thousandths) in [
            ("1r/s", Some(1000)),
            ("1r/m", Some(16)),
            ("10r/m", Some(166)),
            ("25r/m", Some(416)),
            ("100", Some(100_000)),
            ("0r/s", None),
            ("-1r/s", None),
            ("r/s", None),
            ("1r/h", None),
            ("", None),
            ("99999999999999999999r/s", None),
        ] {
            assert_eq!(Rate::parse(text.as_bytes()), thousandths.map(Rate), "{text}");
        }
    }

    #[test]
    fn excess_grows_by_a_request_and_shrinks_with_time() {
        let rate = Rate(416);
        for (thousandths, last, now, expected) in [
            (0, 1000, 1000, (1000, 1000)),
            (0, 1000, 2000, (584, 2000)),
            (3000, 1000, 2000, (3584, 2000)),
            (0, 1000, 4000, (0, 4000)),
            // less than a thousandth
            (0, 1000, 1002, (1000, 1002)),
            // another process is ahead
            (2000, 1000, 999, (3000, 1000)),
            (2000, 70_000, 10_000, (3000, 70_000)),
            (2000, 70_001, 10_000, (3000, 10_000)),
            // nobody has asked yet
            (0, 0, 1 << 40, (0, 1 << 40)),
        ] {
            let after = rate.add(Excess { thousandths, last }, now);
            assert_eq!((after.thousandths, after.last), expected, "{thousandths} {last} {now}");
        }
        assert_eq!(Rate(u64::MAX).add(Excess { thousandths: 9, last: 0 }, 7).thousandths, 0);
    }

    #[test]
    fn what_is_beyond_the_mark_waits() {
        let excess = |thousandths| Excess { thousandths, last: 0 };
        for (rate, thousandths, mark, delay) in [
            (2000, 1000, 0, 500),
            (2000, 1000, 1000, 0),
            (2000, 2500, 1000, 750),
            (16, 1000, 0, 62_500),
            (166, 1000, 0, 6024),
        ] {
            assert_eq!(Rate(rate).delay(excess(thousandths), mark), delay, "{rate} {thousandths}");
        }
    }

    #[test]
    fn a_state_is_forgotten_after_a_minute_and_its_excess() {
        let rate = Rate(16);
        let at = |thousandths, last| Excess { thousandths, last };
        assert!(!rate.has_forgotten(at(0, 1), 60_000));
        assert!(rate.has_forgotten(at(0, 1), 60_001));
        assert!(!rate.has_forgotten(at(1000, 1), 60_001));
        assert!(rate.has_forgotten(at(1000, 1), 62_501));
        assert!(rate.has_forgotten(at(0, 70_000), 1));
    }
}
