//! Severities, and the threshold that a log compares them with.

/// How much a line matters, in nginx's order: the lower, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Emerg = 1,
    Alert = 2,
    Crit = 3,
    Error = 4,
    Warn = 5,
    Notice = 6,
    Info = 7,
    Debug = 8,
}

impl Level {
    const ALL: [Level; 8] = [
        Level::Emerg,
        Level::Alert,
        Level::Crit,
        Level::Error,
        Level::Warn,
        Level::Notice,
        Level::Info,
        Level::Debug,
    ];

    /// nginx's word, as in `error_log logs/error.log notice`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Emerg => "emerg",
            Level::Alert => "alert",
            Level::Crit => "crit",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Notice => "notice",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    pub fn from_name(name: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// The part of the program that a debug line speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Debug {
    Core = 0x010,
    Alloc = 0x020,
    Mutex = 0x040,
    Event = 0x080,
    Http = 0x100,
    Mail = 0x200,
    Stream = 0x400,
}

impl Debug {
    fn from_name(name: &str) -> Option<Debug> {
        Some(match name {
            "debug_core" => Debug::Core,
            "debug_alloc" => Debug::Alloc,
            "debug_mutex" => Debug::Mutex,
            "debug_event" => Debug::Event,
            "debug_http" => Debug::Http,
            "debug_mail" => Debug::Mail,
            "debug_stream" => Debug::Stream,
            _ => return None,
        })
    }
}

/// What a target takes: a level, or a mask of debug parts (which includes every level).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Threshold(u32);

impl Threshold {
    /// Takes nothing.
    pub const NONE: Threshold = Threshold(0);
    /// Takes everything, each debug part included.
    pub const EVERYTHING: Threshold = Threshold(Self::DEBUG_ALL);

    const DEBUG_ALL: u32 = 0x7f0;
    const LEVELS: u32 = 0x00f;

    pub fn of(level: Level) -> Threshold {
        match level {
            Level::Debug => Self::EVERYTHING,
            level => Threshold(level as u32),
        }
    }

    /// The words after the target in `error_log`; none is `error`. The error is nginx's sentence.
    pub fn parse(words: &[&str]) -> Result<Threshold, String> {
        if words.is_empty() {
            return Ok(Self::of(Level::Error));
        }
        let mut bits = 0;
        for &word in words {
            if let Some(level) = Level::from_name(word) {
                if bits != 0 {
                    return Err(format!("duplicate log level \"{word}\""));
                }
                bits = Self::of(level).0;
            } else if let Some(part) = Debug::from_name(word) {
                if bits & Self::LEVELS != 0 {
                    return Err(format!("invalid log level \"{word}\""));
                }
                bits |= part as u32;
            } else {
                return Err(format!("invalid log level \"{word}\""));
            }
        }
        Ok(Threshold(bits))
    }

    #[inline]
    pub fn takes(self, level: Level) -> bool {
        self.0 >= level as u32
    }

    #[inline]
    pub fn takes_debug(self, part: Debug) -> bool {
        self.0 & part as u32 != 0
    }

    pub(super) fn takes_any_debug(self) -> bool {
        self.0 >= Debug::Core as u32
    }

    pub(super) fn union(self, other: Threshold) -> Threshold {
        if !self.takes_any_debug() || !other.takes_any_debug() {
            return self.max(other);
        }
        Threshold(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_takes_itself_and_what_is_worse() {
        let warn = Threshold::of(Level::Warn);
        for level in Level::ALL {
            assert_eq!(warn.takes(level), level <= Level::Warn, "{level:?}");
        }
    }

    #[test]
    fn a_debug_part_takes_every_level_and_only_that_part() {
        let http = Threshold::parse(&["debug_http"]).unwrap();
        assert!(http.takes(Level::Info));
        assert!(http.takes_debug(Debug::Http));
        assert!(!http.takes_debug(Debug::Event));
        assert!(Threshold::parse(&["debug"]).unwrap().takes_debug(Debug::Event));
    }

    #[test]
    fn words_that_contradict_are_refused_in_nginx_words() {
        let refused = |words: &[&str]| Threshold::parse(words).unwrap_err();
        assert_eq!(refused(&["warn", "error"]), "duplicate log level \"error\"");
        assert_eq!(refused(&["info", "debug_http"]), "invalid log level \"debug_http\"");
        assert_eq!(refused(&["loud"]), "invalid log level \"loud\"");
    }

    #[test]
    fn joined_thresholds_take_what_either_takes() {
        let http = Threshold::parse(&["debug_http"]).unwrap();
        let core = Threshold::parse(&["debug_core"]).unwrap();
        assert!(http.union(core).takes_debug(Debug::Core));
        assert_eq!(http.union(Threshold::of(Level::Warn)), http);
    }
}
