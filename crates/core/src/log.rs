//! The error log: nginx's line format, levels, debug masks and targets.
//!
//! A [`Log`] is an immutable list of targets, cheap to clone and to ask. The macros
//! [`log!`](crate::log!) and [`debug!`](crate::debug!) check the level first and format into one
//! buffer, which reaches each file by one write(2):
//!
//! ```
//! use daemun_core::log::{Log, Level};
//! let log = Log::silent();
//! let error = std::io::Error::from_raw_os_error(2);
//! // 2026/11/22 15:41:49 [error] 7#7: *12 open() "/a" failed (2: No such file or directory)
//! daemun_core::log!(log, Error, 12u64, "open() \"{}\" failed", "/a"; error);
//! ```

mod files;
mod level;
mod line;
mod memory;
mod syslog;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

pub use files::{Failure, OpenFile, OpenFiles};
pub use level::{Debug, Level, Threshold};
pub use memory::Memory;
pub use syslog::{Severity, Syslog};

use line::Line;

/// Where lines go.
#[derive(Clone, Debug)]
pub enum Target {
    File(Arc<OpenFile>),
    Stderr,
    Syslog(Arc<Syslog>),
    Memory(Arc<Memory>),
}

/// Whom a line is about: a connection's number, and what nginx adds to the message (`, client: ...,
/// request: ...`).
pub trait Origin {
    /// The number after the star; 0 leaves it out.
    fn connection(&self) -> u64;

    /// Follows the message and its error, except in debug lines.
    fn context(&self, _line: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

/// A line about the process itself.
impl Origin for () {
    fn connection(&self) -> u64 {
        0
    }
}

/// A line about a connection of that number.
impl Origin for u64 {
    fn connection(&self) -> u64 {
        *self
    }
}

/// An error log: targets, each with its own threshold.
#[derive(Clone, Debug)]
pub struct Log {
    /// The union of the targets' thresholds: the one check on the way.
    threshold: Threshold,
    /// Every target takes every line: `debug_connection`.
    debugging: bool,
    targets: Arc<[(Target, Threshold)]>,
}

impl Log {
    pub fn new(targets: Vec<(Target, Threshold)>) -> Log {
        let threshold = targets.iter().fold(Threshold::NONE, |all, (_, one)| all.union(*one));
        if threshold.takes_any_debug() {
            DEBUGS.store(true, Ordering::Relaxed);
        }
        Log { threshold, debugging: false, targets: targets.into() }
    }

    /// Takes nothing.
    pub fn silent() -> Log {
        Log::new(Vec::new())
    }

    /// Standard error, from `level` on.
    pub fn stderr(level: Level) -> Log {
        Log::new(vec![(Target::Stderr, Threshold::of(level))])
    }

    /// The same targets, with every line going to each: for the connections that `debug_connection`
    /// names.
    pub fn debugging(&self) -> Log {
        DEBUGS.store(true, Ordering::Relaxed);
        Log {
            threshold: Threshold::EVERYTHING,
            debugging: true,
            targets: Arc::clone(&self.targets),
        }
    }

    /// Whether this is a debugged connection's log, which a location's log must then be too.
    pub fn is_debugging(&self) -> bool {
        self.debugging
    }

    /// Whether a target is the standard error.
    pub fn tells_stderr(&self) -> bool {
        let mut targets = self.targets.iter();
        targets.any(|(target, _)| matches!(target, Target::Stderr))
    }

    #[inline]
    pub fn takes(&self, level: Level) -> bool {
        self.threshold.takes(level)
    }

    #[inline]
    pub fn takes_debug(&self, part: Debug) -> bool {
        self.threshold.takes_debug(part)
    }

    /// Writes a line whatever the threshold: [`log!`](crate::log!) asks first.
    #[cold]
    pub fn write(
        &self,
        level: Level,
        origin: &dyn Origin,
        message: fmt::Arguments<'_>,
        error: Option<&std::io::Error>,
    ) {
        let line = Line::compose(level, origin, message, error);
        let mut told_stderr = false;
        for (target, threshold) in self.targets.iter() {
            if self.debugging || threshold.takes(level) {
                told_stderr |= matches!(target, Target::Stderr);
                target.write(level, &line);
            }
        }
        if level <= Level::Warn && !told_stderr && STDERR_TOO.load(Ordering::Relaxed) {
            write_stderr(format_args!("[{}] {}", level.name(), line.text()));
        }
    }

    /// Writes a debug line to the targets that take `part`: [`debug!`](crate::debug!) asks first.
    #[cold]
    pub fn write_debug(&self, part: Debug, origin: &dyn Origin, message: fmt::Arguments<'_>) {
        let line = Line::compose(Level::Debug, origin, message, None);
        for (target, threshold) in self.targets.iter() {
            if self.debugging || threshold.takes_debug(part) {
                target.write(Level::Debug, &line);
            }
        }
    }

    /// Sends the process's standard error to the first file, unless a target is the standard error
    /// itself, or some other log of the configuration has it.
    pub fn redirect_stderr(&self) -> std::io::Result<()> {
        if STDERR_NAMED.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut file = None;
        for (target, _) in self.targets.iter() {
            match target {
                Target::Stderr => return Ok(()),
                Target::File(open) => file = file.or(open.descriptor()),
                _ => {}
            }
        }
        match file {
            Some(file) => daemun_sys::descriptor::redirect_stderr(file),
            None => Ok(()),
        }
    }

    /// The process's log, for what happens outside a request.
    pub fn current() -> Log {
        CURRENT
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
            .unwrap_or_else(Log::silent)
    }

    /// Makes this the process's log.
    pub fn make_current(&self) {
        *CURRENT.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(self.clone());
    }
}

impl Target {
    /// The first argument of `error_log`; `file` registers a path. The error is nginx's sentence.
    pub fn parse(name: &str, file: impl FnOnce(&str) -> Arc<OpenFile>) -> Result<Target, String> {
        if name == "stderr" {
            STDERR_NAMED.store(true, Ordering::Relaxed);
            return Ok(Target::Stderr);
        }
        if let Some(parameters) = name.strip_prefix("syslog:") {
            return Ok(Target::Syslog(Arc::new(Syslog::parse(parameters)?)));
        }
        if let Some(size) = name.strip_prefix("memory:") {
            return Ok(Target::Memory(Arc::new(Memory::parse(size)?)));
        }
        Ok(Target::File(file(name)))
    }

    fn write(&self, level: Level, line: &Line) {
        match self {
            // A log that cannot be written has nowhere to say so.
            Target::File(file) => drop(file.append(line.bytes())),
            Target::Stderr => drop(std::io::Write::write_all(&mut std::io::stderr(), line.bytes())),
            Target::Syslog(syslog) => syslog.send(Severity::of(level), line.without_newline()),
            Target::Memory(memory) => memory.append(line.bytes()),
        }
    }
}

static CURRENT: RwLock<Option<Log>> = RwLock::new(None);
static STDERR_TOO: AtomicBool = AtomicBool::new(false);
/// Some log of this process goes to the standard error, or did once: that stays what it was.
static STDERR_NAMED: AtomicBool = AtomicBool::new(false);
/// Some log of this process takes debug lines, or did once.
static DEBUGS: AtomicBool = AtomicBool::new(false);
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// The name before messages on standard error: `nginx: [emerg] ...`. The first call counts.
pub fn name_program(name: &'static str) {
    let _ = PROGRAM.set(name);
}

pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("daemun")
}

/// Whether it is worth asking a log for debug lines: one look, where finding a request's log takes several.
#[inline(always)]
pub fn may_debug() -> bool {
    DEBUGS.load(Ordering::Relaxed)
}

/// Whether warnings and worse also go to the standard error: true until the process has started.
/// Returns what it was.
pub fn echo_to_stderr(on: bool) -> bool {
    STDERR_TOO.swap(on, Ordering::Relaxed)
}

/// `nginx: MESSAGE` on the standard error, in one write.
pub fn write_stderr(message: fmt::Arguments<'_>) {
    let line = format!("{}: {message}\n", program());
    // Nobody is left to tell when the standard error is closed.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

/// An error as nginx ends its sentences: ` (2: No such file or directory)`, with the space.
pub struct Errno<'a>(pub &'a std::io::Error);

impl fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match self.0.raw_os_error() {
            Some(code) => {
                let name = text.split(" (os error").next().unwrap_or(&text);
                write!(f, " ({code}: {name})")
            }
            None => write!(f, " ({text})"),
        }
    }
}

/// `log!(log, Level, origin, "format", arguments...)`, and with an error at the end: `...; error)`.
///
/// `origin` is `()`, a connection's number or any [`Origin`](crate::log::Origin).
#[macro_export]
macro_rules! log {
    ($log:expr, $level:ident, $origin:expr, $format:literal $(, $argument:expr)* $(,)?) => {
        if $log.takes($crate::log::Level::$level) {
            $log.write($crate::log::Level::$level, &$origin, format_args!($format $(, $argument)*), None);
        }
    };
    ($log:expr, $level:ident, $origin:expr, $format:literal $(, $argument:expr)*; $error:expr) => {
        if $log.takes($crate::log::Level::$level) {
            $log.write($crate::log::Level::$level, &$origin, format_args!($format $(, $argument)*), Some(&$error));
        }
    };
}

/// `debug!(log, Http, origin, "format", arguments...)`: a line for a part of the program, see
/// [`Debug`].
#[macro_export]
macro_rules! debug {
    ($log:expr, $part:ident, $origin:expr, $format:literal $(, $argument:expr)* $(,)?) => {
        if $crate::log::may_debug() && $log.takes_debug($crate::log::Debug::$part) {
            $log.write_debug($crate::log::Debug::$part, &$origin, format_args!($format $(, $argument)*));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Request;

    impl Origin for Request {
        fn connection(&self) -> u64 {
            7
        }

        fn context(&self, line: &mut dyn fmt::Write) -> fmt::Result {
            line.write_str(", client: 127.0.0.1")
        }
    }

    fn memory_log(words: &[&str]) -> (Arc<Memory>, Log) {
        let memory = Arc::new(Memory::new(4096));
        let log =
            Log::new(vec![(Target::Memory(Arc::clone(&memory)), Threshold::parse(words).unwrap())]);
        (memory, log)
    }

    #[test]
    fn a_line_reads_as_nginx_writes_it() {
        let (memory, log) = memory_log(&["error"]);
        let error = std::io::Error::from_raw_os_error(2);
        log!(log, Error, Request, "open() \"{}\" failed", "/a"; error);

        let text = memory.text();
        let pid = daemun_sys::identity::pid();
        let (head, message) = text.split_once(&format!(" [error] {pid}#")).expect(&text);
        assert_eq!(head.len(), "2026/11/22 15:41:49".len());
        let expected =
            ": *7 open() \"/a\" failed (2: No such file or directory), client: 127.0.0.1\n";
        assert!(message.ends_with(expected), "{message}");
    }

    #[test]
    fn lines_below_the_threshold_are_not_formatted() {
        let (memory, log) = memory_log(&["warn"]);
        let unread = || -> &str { panic!("formatted in vain") };
        log!(log, Notice, (), "{}", unread());
        debug!(log, Http, (), "{}", unread());
        assert_eq!(memory.text(), "");
    }

    #[test]
    fn targets_keep_their_own_levels() {
        let quiet = Arc::new(Memory::new(4096));
        let chatty = Arc::new(Memory::new(4096));
        let log = Log::new(vec![
            (Target::Memory(Arc::clone(&quiet)), Threshold::of(Level::Error)),
            (Target::Memory(Arc::clone(&chatty)), Threshold::parse(&["debug_http"]).unwrap()),
        ]);
        log!(log, Info, (), "informed");
        debug!(log, Http, 3u64, "http detail");
        debug!(log, Event, 3u64, "event detail");
        assert_eq!(quiet.text(), "");
        assert!(chatty.text().contains("informed") && chatty.text().contains("*3 http detail"));
        assert!(!chatty.text().contains("event detail"));

        debug!(log.debugging(), Event, 3u64, "event detail");
        assert!(quiet.text().contains("event detail"), "debug_connection overrides every target");
    }

    #[test]
    fn no_control_character_of_a_peer_is_in_a_line() {
        let memory = Arc::new(Memory::new(1 << 16));
        let threshold = Threshold::parse(&["debug_http"]).unwrap();
        let log = Log::new(vec![(Target::Memory(Arc::clone(&memory)), threshold)]);
        for code in 0..=0xa0u8 {
            let one = char::from(code);
            log!(log, Error, (), "open() \"/{}a\" failed", one);
            debug!(log, Http, (), "http header: \"{}\"", one);
        }
        let text = memory.text();
        assert_eq!(text.lines().count(), 2 * 0xa1);
        let raw = text.chars().find(|one| one.is_control() && *one != '\n');
        assert_eq!(raw, None);
        for told in [r#""/\x00a""#, r#""/\x0Aa""#, r#""/\x1Ba""#, r#""/\x7Fa""#, r#""/\xC2\x9Ba""#]
        {
            assert!(text.contains(told), "{told}");
        }
        assert!(text.contains("\"/\"a\"") && text.contains(r#""/\a""#), "all else stays as it is");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_stays_one_line() {
        let (memory, log) = memory_log(&["error"]);
        log!(log, Error, (), "{}", "x".repeat(5000); std::io::Error::from_raw_os_error(13));
        let text = memory.text();
        assert!(text.len() <= Line::LIMIT && text.len() > Line::LIMIT - 50, "{}", text.len());
        assert!(text.ends_with("... (13: Permission denied)\n"), "{}", &text[text.len() - 60..]);
    }
}
