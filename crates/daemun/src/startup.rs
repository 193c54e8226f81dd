//! The log before the configuration has named one.

use std::path::Path;
use std::sync::Arc;

use daemun_core::log::{self, Level, Log, Memory, OpenFiles, Target, Threshold};

use crate::cli::{Options, Places};
use crate::identity::Identity;

/// Opens the log that `-e` or the identity names, makes it current, and lets warnings and worse
/// reach the standard error as well. Where it cannot be opened, the standard error is the log. `-t`
/// creates no file.
pub fn open_log(options: &Options, identity: &'static Identity, places: &Places) {
    log::name_program(identity.name);
    log::echo_to_stderr(true);
    let level = if options.test { Level::Info } else { Level::Notice };
    let target = match &places.error_log {
        Some(path) if options.test && !path.exists() => Target::Memory(Arc::new(Memory::new(1))),
        Some(path) => open(path).unwrap_or(Target::Stderr),
        None => Target::Stderr,
    };
    Log::new(vec![(target, Threshold::of(level))]).make_current();
}

fn open(path: &Path) -> Option<Target> {
    let files = OpenFiles::default();
    let file = files.register(path);
    match files.open() {
        Ok(()) => Some(Target::File(file)),
        Err(failure) => {
            log::write_stderr(format_args!("[alert] could not open error log file: {failure}"));
            None
        }
    }
}
