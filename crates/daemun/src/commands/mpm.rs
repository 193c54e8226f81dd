//! `daemun mpm`: shows the running process model, and changes it in the configuration. It is to
//! this server what a2enmod is to Apache.

mod edit;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use daemun_conf::Files;
use daemun_core::log::{self, Log};
use daemun_core::settings::Mpm;
use daemun_process::Program;
use daemun_process::control::{self, Reply};
use daemun_process::signaller::{self, Request};

use self::edit::{Edit, Place};
use crate::program::Server;

/// `daemun mpm [set MODEL] [--apply] [OPTIONS]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    set: Option<Mpm>,
    apply: bool,
    help: bool,
}

const HELP: &str = "\
Usage: daemun mpm [OPTIONS]
       daemun mpm set MODEL [--apply] [OPTIONS]

Shows the process model of the running server and its numbers, or changes it in the configuration file.

  MODEL     : native, event, worker or prefork
  --apply   : the running server is reloaded, and shown
  --help    : this help
  OPTIONS   : -c, -p, -e and -g, as without a command

";

impl Command {
    /// Takes its own words out of those after `mpm`; the rest are the options of every call.
    pub fn parse(words: &[OsString]) -> Result<(Command, Vec<OsString>), String> {
        let mut command = Command { set: None, apply: false, help: false };
        let mut rest = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("set") if words.as_slice().first().is_some_and(is_help) => {}
                Some("set") if rest.is_empty() => command.set = Some(model(words.next())?),
                Some("--apply") => command.apply = true,
                _ if is_help(word) => command.help = true,
                _ => rest.push(word.clone()),
            }
        }
        if command.apply && command.set.is_none() {
            return Err("--apply goes with \"daemun mpm set MODEL\"".to_owned());
        }
        Ok((command, rest))
    }

    pub fn is_help(&self) -> bool {
        self.help
    }

    pub fn help(&self) -> &'static str {
        HELP
    }

    /// Does it, and returns the exit code.
    pub fn run(&self, server: &Server) -> i32 {
        let done = match self.set {
            None => show(server),
            Some(mpm) => self.change(server, mpm),
        };
        match done {
            Ok(text) => {
                print!("{text}");
                0
            }
            Err(sentence) => {
                log::write_stderr(format_args!("{sentence}"));
                1
            }
        }
    }

    fn change(&self, server: &Server, mpm: Mpm) -> Result<String, String> {
        if self.apply {
            running(server).map_err(|sentence| format!("nothing was changed: {sentence}"))?;
        }
        let edit = edit::plan(server, mpm)?;
        if let Some(edit) = &edit {
            check(server, edit)?;
            edit.write().map_err(|error| unwritten(&edit.path, &error))?;
        }
        let mut text = changed(edit.as_ref(), mpm);
        if self.apply {
            apply(server)?;
            text.push_str(&show(server)?);
        } else if edit.is_some() {
            text.push_str("apply it with: daemun -s reload\n");
        }
        Ok(text)
    }
}

fn is_help(word: &OsString) -> bool {
    ["--help", "-h", "-?"].iter().any(|help| word == help)
}

fn model(word: Option<&OsString>) -> Result<Mpm, String> {
    let name = word.and_then(|word| word.to_str());
    let found = Mpm::ALL.into_iter().find(|mpm| Some(mpm.name()) == name);
    found.ok_or_else(|| {
        let names = Mpm::ALL.map(Mpm::name).join(", ");
        format!("\"daemun mpm set\" needs one of {names}")
    })
}

/// How long a master may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn show(server: &Server) -> Result<String, String> {
    let (mut text, configured) = running(server)?;
    if !text.starts_with(&format!("mpm {configured} ")) {
        text.push_str(&format!("the configuration says mpm {configured}: daemun -s reload\n"));
    }
    Ok(text)
}

/// What the running server says of its model, and what the configuration does.
fn running(server: &Server) -> Result<(String, &'static str), String> {
    let cycle = server.load()?;
    let configured = cycle.settings.mpm.mpm.name();
    let stopped = format!("no server is running; its configuration says mpm {configured}");
    let Ok(pid) = signaller::master(&cycle.settings.pid) else {
        return Err(stopped);
    };
    let text = match control::model(pid, PATIENCE) {
        Reply::Said(answer) => answer?,
        Reply::Nobody => return Err(stopped),
        Reply::Stranger(sentence) => return Err(sentence),
    };
    Ok((text, configured))
}

/// Reads the configuration as it would be after the change.
fn check(server: &Server, edit: &Edit) -> Result<(), String> {
    let mut files = Files::default();
    files.pretend(edit.name.clone(), edit.text.clone());
    let loaded = server.load_with(files);
    loaded.map(drop).map_err(|sentence| format!("nothing was changed: {sentence}"))
}

fn changed(edit: Option<&Edit>, mpm: Mpm) -> String {
    let Some(Edit { path, place, .. }) = edit else {
        return format!("the configuration says mpm {} already\n", mpm.name());
    };
    let path = path.display();
    match place {
        Place::Replaced { line, former } => {
            format!("{path}:{line}: \"mpm {former}\" is now \"mpm {}\"\n", mpm.name())
        }
        Place::Added { line } => format!("{path}:{line}: added \"mpm {};\"\n", mpm.name()),
    }
}

fn apply(server: &Server) -> Result<(), String> {
    let cycle = server.load()?;
    match signaller::signal(Request::Reload, &cycle.settings.pid, &Log::current()) {
        0 => Ok(()),
        _ => Err("the change was not applied".to_owned()),
    }
}

fn unwritten(path: &Path, error: &io::Error) -> String {
    format!("{} could not be written{}", path.display(), log::Errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(Command, Vec<OsString>), String> {
        Command::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn its_words_are_told_from_options() {
        let (command, rest) = parse("set event -c a.conf --apply -p /srv").unwrap();
        assert_eq!(command, Command { set: Some(Mpm::Event), apply: true, help: false });
        assert_eq!(rest, ["-c", "a.conf", "-p", "/srv"]);
        assert_eq!(parse("").unwrap().0, Command { set: None, apply: false, help: false });
        assert!(parse("set").is_err() && parse("set itk").is_err() && parse("--apply").is_err());
    }
}
