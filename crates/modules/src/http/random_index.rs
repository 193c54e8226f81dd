//! `random_index`: a folder's index is any of its files.
//!
//! ```nginx
//! location /quotes/ { random_index on; }
//! ```

use std::fs::DirEntry;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;

use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_proto::http1::Method;

settings! {
    pub struct Settings {
        is_on: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_random_index_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "random_index" in LOCATION, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Picks any file of a folder as its index.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| *settings.of(&SETTINGS).is_on,
        handler: Handler::Now(pick),
    }],
    ..HttpModule::EMPTY
};

fn pick(request: &mut Request) -> Step {
    if request.uri.last() != Some(&b'/')
        || !matches!(request.head.method(), Method::Get | Method::Head | Method::Post)
    {
        return Step::Declined;
    }
    let mut path = Vec::new();
    files::map_uri(request, &mut path);
    let mut names = match names(&path) {
        Ok(names) => names,
        Err(error) => return refuse(request, &path, &error),
    };
    if names.is_empty() {
        return Step::Declined;
    }
    let random = RandomState::new().hash_one(&path) as usize;
    let name = names.swap_remove(random % names.len());
    let uri = [&*request.uri, &name].concat();
    let args = request.args.clone();
    request.redirect(&uri, &args)
}

/// The files that may be picked: regular ones that do not hide behind a dot.
fn names(path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(files::as_path(path))? {
        let entry = entry?;
        let name = entry.file_name().as_bytes().to_vec();
        if !name.starts_with(b".") && is_file(&entry) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Through a symbolic link, too; one that leads nowhere is none.
fn is_file(entry: &DirEntry) -> bool {
    std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file())
}

fn refuse(request: &Request, path: &[u8], error: &io::Error) -> Step {
    use io::ErrorKind::*;
    let path = Text(path.strip_suffix(b"/").unwrap_or(path));
    match error.kind() {
        NotFound | NotADirectory | InvalidFilename => {
            log!(request.log(), Error, *request, "opendir() \"{}\" failed", path; *error);
            Step::Status(Status::NOT_FOUND)
        }
        PermissionDenied => {
            log!(request.log(), Error, *request, "opendir() \"{}\" failed", path; *error);
            Step::Status(Status::FORBIDDEN)
        }
        _ => {
            log!(request.log(), Crit, *request, "opendir() \"{}\" failed", path; *error);
            Step::Status(Status::INTERNAL_SERVER_ERROR)
        }
    }
}
