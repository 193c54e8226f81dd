//! Changing one directive in a file that somebody wrote by hand: everything else stays as it is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use daemun_conf::{Diagnostics, Directive, Files, Root, Span};
use daemun_core::settings::Mpm;

use crate::program::Server;

/// A file and what it is to hold.
#[derive(Debug)]
pub(super) struct Edit {
    /// As the configuration names the file.
    pub name: PathBuf,
    /// Where it is: links are followed, not replaced.
    pub path: PathBuf,
    pub text: Vec<u8>,
    pub place: Place,
}

/// What is changed, for people.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Replaced { line: u32, former: String },
    Added { line: u32 },
}

/// What has to be written for the configuration to say `mpm`; `None` where it does.
pub(super) fn plan(server: &Server, mpm: Mpm) -> Result<Option<Edit>, String> {
    let Some(configuration) = &server.places.configuration else {
        return Err("there is no configuration file to change".to_owned());
    };
    let (mut files, mut diagnostics) = (Files::default(), Diagnostics::default());
    let root = Root::Path(configuration.clone());
    let folder = &server.places.configuration_folder;
    let tree = daemun_conf::parse(root, folder, &mut files, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(format!("nothing was changed: {}", diagnostics.render("daemun", &files)));
    }
    let chosen = tree.directives.iter().find(|directive| directive.name == "mpm");
    let change = match chosen.and_then(|directive| directive.args.first()) {
        Some(word) if *word == mpm.name() => return Ok(None),
        Some(word) => Change {
            span: word.span,
            with: mpm.name().to_owned(),
            place: Place::Replaced {
                line: files.position(word.span).line,
                former: word.to_string(),
            },
        },
        None => addition(&tree.directives, &files, configuration, mpm)?,
    };
    let name = files.name(change.span.file).to_owned();
    let path = fs::canonicalize(&name).map_err(|error| super::unwritten(&name, &error))?;
    let text = change.applied(files.file(change.span.file).text());
    Ok(Some(Edit { name, path, text, place: change.place }))
}

struct Change {
    span: Span,
    with: String,
    place: Place,
}

impl Change {
    fn applied(&self, text: &[u8]) -> Vec<u8> {
        let (start, end) = (self.span.start as usize, self.span.end as usize);
        [&text[..start], self.with.as_bytes(), &text[end..]].concat()
    }
}

/// Before the first directive of the main file that opens a block, which mostly is `events`.
fn addition(
    directives: &[Directive],
    files: &Files,
    configuration: &Path,
    mpm: Mpm,
) -> Result<Change, String> {
    let own = |directive: &&Directive| files.name(directive.span.file) == configuration;
    let block = directives.iter().filter(own).find(|directive| directive.block.is_some());
    let Some(before) = block else {
        return Err("the configuration file has no block to put the directive before".to_owned());
    };
    let line = files.position(before.span).line;
    let span = Span { end: before.span.start, ..before.span };
    let with = format!("mpm {};\n\n", mpm.name());
    Ok(Change { span, with, place: Place::Added { line } })
}

impl Edit {
    /// Puts the new text in the old one's place at once: a reader sees the one or the other, whole.
    pub fn write(&self) -> io::Result<()> {
        let former = fs::metadata(&self.path)?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = self.path.with_file_name(name);
        let written = File::create_new(&beside).and_then(|mut file| {
            file.write_all(&self.text)?;
            file.set_permissions(former.permissions())?;
            chown(&beside, Some(former.uid()), Some(former.gid()))?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)
        });
        if written.is_err() {
            // The reason that is told is the first one.
            let _ = fs::remove_file(&beside);
        }
        written
    }
}
