//! The pid file: written when the server has started, renamed while two binaries run, removed at
//! the end.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use daemun_core::log;
use daemun_core::log::{Failure, Log};
use daemun_sys::trusted::{self, How};
use daemun_sys::{descriptor, identity};

/// Writes this process's number, as nginx does: mode 0644, a newline at the end. What a stranger's
/// symbolic link leads to is not overwritten.
///
/// Without a path there is no such file.
pub fn create(path: &Path) -> Result<(), Failure> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let written = trusted::open(path, How::Replace)
        // At one stroke: whoever waits for the file reads it at once.
        .and_then(|mut file| file.write_all(format!("{}\n", identity::pid()).as_bytes()));
    written.map_err(|error| Failure::new("open()", path, error))
}

/// Says whether [`create`] would succeed, and creates nothing.
pub fn check(path: &Path) -> Result<(), Failure> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let checked = match trusted::open(path, How::Look) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            descriptor::check_writable(folder.unwrap_or(Path::new(".")))
        }
        other => other.map(drop),
    };
    checked.map_err(|error| Failure::new("open()", path, error))
}

/// The running master's number, and nginx's sentence where there is none to be had.
pub fn read(path: &Path) -> Result<i32, String> {
    if path.as_os_str().is_empty() {
        return Err("a server without a configuration file has no pid file".to_owned());
    }
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new("open()", path, error).to_string())?;
    let number = text.trim_end_matches(['\r', '\n']);
    let pid = number.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| format!("invalid PID number \"{number}\" in \"{}\"", path.display()))
}

pub fn remove(path: &Path, log: &Log) {
    if path.as_os_str().is_empty() {
        return;
    }
    if let Err(error) = fs::remove_file(path) {
        log!(log, Alert, (), "unlink() \"{}\" failed", path.display(); error);
    }
}

/// Where the old binary's number stands while the new one runs.
pub fn old_binary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".oldbin");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("daemun-pid-{}", identity::pid()));
        check(&path).unwrap();
        assert!(!path.exists());
        create(&path).unwrap();
        assert_eq!(read(&path).unwrap(), identity::pid());

        fs::write(&path, "x7\n").unwrap();
        assert!(read(&path).unwrap_err().starts_with("invalid PID number \"x7\" in \""));
        remove(&path, &Log::silent());
        assert!(read(&path).unwrap_err().ends_with("failed (2: No such file or directory)"));
    }
}
