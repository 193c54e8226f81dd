//! `daemun cache`: shows what stands in the folder of a cache, daemun's or nginx's, with or without a server, and removes
//! from it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use daemun_core::log;
use daemun_http::upstream::cache::inspect::{self, Response};
use daemun_http::upstream::cache::purge::Target;
use serde_json::json;

/// `daemun cache WORD FOLDER ...`.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    work: Work,
    folder: PathBuf,
    json: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Work {
    Help,
    List,
    Show(Vec<u8>),
    Purge(Target),
    Stats,
    Verify,
}

const HELP: &str = "\
Usage: daemun cache ls FOLDER
       daemun cache show FOLDER KEY
       daemun cache purge FOLDER --key KEY | --prefix TEXT | --tag TAG | --all
       daemun cache stats FOLDER
       daemun cache verify FOLDER

Looks at the files of a cache, daemun's or nginx's, whether or not a server uses them. A KEY may also be its MD5 in
hexadecimal digits. What is purged is removed at once; a server notices that at the next request.

  --json    : for programs: an object a line
  --help    : this help

";

impl Command {
    pub fn parse(words: &[OsString]) -> Result<Command, String> {
        let json = words.iter().any(|word| word == "--json");
        let words: Vec<&OsString> = words.iter().filter(|word| *word != "--json").collect();
        let is_help = |word: &&OsString| *word == "--help" || *word == "-h";
        if words.is_empty() || words.iter().any(is_help) {
            return Ok(Command { work: Work::Help, folder: PathBuf::new(), json });
        }
        let usage = || "see \"daemun cache --help\"".to_owned();
        let bytes = |place: usize| words.get(place).map(|word| word.as_bytes().to_vec());
        let (work, count) = match words[0].to_str() {
            Some("ls") => (Work::List, 2),
            Some("show") => (Work::Show(bytes(2).ok_or_else(usage)?), 3),
            Some("stats") => (Work::Stats, 2),
            Some("verify") => (Work::Verify, 2),
            Some("purge") => {
                let value = || bytes(3).ok_or_else(usage);
                match words.get(2).and_then(|word| word.to_str()) {
                    Some("--key") => (Work::Purge(inspect::key_target(&value()?)), 4),
                    Some("--prefix") => (Work::Purge(Target::Prefix(value()?)), 4),
                    Some("--tag") => (Work::Purge(Target::Tag(value()?)), 4),
                    Some("--all") => (Work::Purge(Target::All), 3),
                    _ => return Err(usage()),
                }
            }
            _ => return Err(usage()),
        };
        match words.get(1) {
            Some(folder) if words.len() == count => {
                Ok(Command { work, folder: PathBuf::from(folder), json })
            }
            _ => Err(usage()),
        }
    }

    pub fn is_help(&self) -> bool {
        self.work == Work::Help
    }

    pub fn help(&self) -> &'static str {
        HELP
    }

    /// Does it, and returns the exit code.
    pub fn run(&self) -> i32 {
        let mut seen = Seen::default();
        let mut out = String::new();
        let walked = inspect::each(&self.folder, &mut |path, read| match read {
            Ok(response) => self.see(&response, &mut seen, &mut out),
            Err(flaw) => {
                seen.damaged += 1;
                if self.work == Work::Verify {
                    let path = path.display();
                    let _ = match self.json {
                        true => writeln!(
                            out,
                            "{}",
                            json!({"path": path.to_string(), "flaw": flaw.text()})
                        ),
                        false => writeln!(out, "{path}: {}", flaw.text()),
                    };
                }
            }
        });
        if let Err(error) = walked {
            let folder = self.folder.display();
            log::write_stderr(format_args!("\"{folder}\" can't be read{}", log::Errno(&error)));
            return 1;
        }
        self.sum_up(&seen, &mut out);
        print!("{out}");
        let is_good = match self.work {
            Work::Verify => seen.damaged == 0,
            Work::Show(_) => seen.matched > 0,
            _ => seen.failed == 0,
        };
        i32::from(!is_good)
    }

    fn see(&self, response: &Response, seen: &mut Seen, out: &mut String) {
        let now = seconds();
        seen.responses += 1;
        seen.size += response.size;
        seen.fresh += u64::from(response.fresh_until >= now);
        match &self.work {
            Work::List => self.list(response, now, out),
            Work::Show(key) if response.matches(&inspect::key_target(key)) => {
                seen.matched += 1;
                self.list(response, now, out);
                if !self.json {
                    let _ = writeln!(out, "{}", response.path.display());
                    let _ = writeln!(out, "{}", String::from_utf8_lossy(&response.head).trim_end());
                }
            }
            Work::Purge(target) if response.matches(target) => match remove(&response.path) {
                true => seen.matched += 1,
                false => seen.failed += 1,
            },
            _ => {}
        }
    }

    fn list(&self, response: &Response, now: i64, out: &mut String) {
        let Response { key, vary, stored, fresh_until, length, .. } = response;
        let (key, vary) = (String::from_utf8_lossy(key), String::from_utf8_lossy(vary));
        let left = fresh_until - now;
        let _ = match self.json {
            true => writeln!(
                out,
                "{}",
                json!({
                    "key": key, "vary": vary, "length": length, "stored": stored,
                    "fresh_until": fresh_until, "path": response.path.display().to_string(),
                })
            ),
            false => writeln!(out, "{length:>12} {left:>9}s {key}"),
        };
    }

    fn sum_up(&self, seen: &Seen, out: &mut String) {
        let Seen { responses, fresh, size, matched, damaged, failed } = seen;
        let _ = match (&self.work, self.json) {
            (Work::Purge(_), true) => {
                writeln!(out, "{}", json!({"removed": matched, "failed": failed}))
            }
            (Work::Purge(_), false) => writeln!(out, "{matched} removed"),
            (Work::Stats, true) => writeln!(
                out,
                "{}",
                json!({"responses": responses, "fresh": fresh, "size": size, "damaged": damaged})
            ),
            (Work::Stats, false) => writeln!(
                out,
                "responses: {responses}, of which {fresh} are fresh\nbytes: {size}\ndamaged: {damaged}"
            ),
            (Work::Verify, false) => writeln!(out, "{responses} are sound, {damaged} are not"),
            _ => Ok(()),
        };
    }
}

/// What was found.
#[derive(Default)]
struct Seen {
    responses: u64,
    fresh: u64,
    /// Bytes on the disk.
    size: u64,
    matched: u64,
    damaged: u64,
    failed: u64,
}

fn remove(path: &Path) -> bool {
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => {
            let path = path.display();
            log::write_stderr(format_args!("unlink() \"{path}\" failed{}", log::Errno(&error)));
            false
        }
    }
}

fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Command, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Command::parse(&words)
    }

    #[test]
    fn words_are_read_wherever_json_stands() {
        assert!(parse(&[]).unwrap().is_help() && parse(&["ls", "--help"]).unwrap().is_help());
        let list = parse(&["--json", "ls", "/c"]).unwrap();
        assert_eq!((list.work, list.json), (Work::List, true));
        let purge = parse(&["purge", "/c", "--tag", "red"]).unwrap();
        assert_eq!(purge.work, Work::Purge(Target::Tag(b"red".to_vec())));
        for bad in [
            &["ls"][..],
            &["ls", "/c", "x"],
            &["purge", "/c"],
            &["purge", "/c", "--key"],
            &["x", "/c"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
