//! `state FILE` of an `upstream` block: the group's servers stand in a file of their own.

use std::io::ErrorKind;
use std::path::Path;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};

use super::{draft, server};

/// Reads the servers; a file that is not there has none yet.
pub fn state(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    if draft(loader).has_state {
        return Err("is duplicate".into());
    }
    if !draft(loader).definition.servers.is_empty() {
        return Err("cannot be used along with \"server\"".into());
    }
    draft(loader).has_state = true;
    let word = &directive.args[0];
    let path = loader.paths.in_prefix(&*word.to_str_lossy());
    let lines = lines(&path).map_err(|reason| {
        Fault::from(format!("{reason} in state file \"{}\"", path.display())).at(word.span)
    })?;
    for line in lines {
        // places in that file mean nothing to whoever tells of faults
        server::read_server(loader, &line).map_err(|_| {
            let server = line.args.first().map(conf::Word::to_str_lossy).unwrap_or_default();
            Fault::from(format!("invalid server \"{server}\" in state file \"{}\"", path.display()))
                .at(word.span)
        })?;
    }
    Ok(())
}

/// The lines `server`. The error says what is wrong.
fn lines(path: &Path) -> Result<Vec<conf::Directive>, String> {
    match std::fs::metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    }
    let (mut files, mut diagnostics) = (conf::Files::default(), conf::Diagnostics::default());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let root = conf::Root::Path(path.to_path_buf());
    let tree = conf::parse(root, folder, &mut files, &mut diagnostics);
    if let Some(first) = diagnostics.iter().next() {
        return Err(first.message.clone());
    }
    let stranger = tree.directives.iter().find(|line| line.name != "server");
    match stranger {
        Some(line) => Err(format!("unexpected \"{}\"", line.name)),
        None => Ok(tree.directives),
    }
}
