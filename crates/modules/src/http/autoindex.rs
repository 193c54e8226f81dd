//! `autoindex`: lists a folder that has no index.
//!
//! ```nginx
//! location /files/ {
//!     autoindex            on;
//!     autoindex_exact_size off;
//!     autoindex_format     json;
//! }
//! ```

mod format;

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::files;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;

use super::{charset, reads_only};
use format::{Entry, Html, Kind};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Xml,
    Json,
    Jsonp,
}

settings! {
    pub struct Settings {
        enabled: bool = false,
        format: Format = Format::Html,
        exact_size: bool = true,
        local_time: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_autoindex_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "autoindex" in HTTP_SERVER_LOCATION, Flag, "off", set!(SETTINGS.enabled, values::flag),
                "Whether folders without an index are listed.";
            "autoindex_format" in HTTP_SERVER_LOCATION, Exactly(1), "html",
                set!(SETTINGS.format, |directive| values::choice(directive, FORMATS)),
                "The format of listings: html, xml, json or jsonp.";
            "autoindex_exact_size" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.exact_size, values::flag),
                "Whether sizes are in bytes instead of rounded.";
            "autoindex_localtime" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.local_time, values::flag),
                "Whether times are local instead of UTC.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| *settings.of(&SETTINGS).enabled,
        handler: Handler::Now(list),
    }],
    ..HttpModule::EMPTY
};

const FORMATS: &[(&str, Format)] = &[
    ("html", Format::Html),
    ("json", Format::Json),
    ("jsonp", Format::Jsonp),
    ("xml", Format::Xml),
];

fn list(request: &mut Request) -> Step {
    if request.uri.last() != Some(&b'/') || !reads_only(request) {
        return Step::Declined;
    }
    let settings = request.settings(&SETTINGS);
    let callback = match *settings.format {
        Format::Jsonp => match read_callback(request) {
            Ok(callback) => callback,
            Err(status) => return Step::Status(status),
        },
        _ => None,
    };
    let mut path = Vec::with_capacity(128);
    files::map_uri(request, &mut path);
    if path.len() > 1 {
        path.pop();
    }
    let entries = match read_folder(request, &path) {
        Ok(entries) => entries,
        Err(error) => return Step::Status(refuse(request, &path, &error)),
    };
    let (content_type, charset) = match (*settings.format, &callback) {
        (Format::Html, _) => ("text/html", None),
        (Format::Xml, _) => ("text/xml", Some("utf-8")),
        (Format::Json | Format::Jsonp, None) => ("application/json", None),
        (Format::Json | Format::Jsonp, Some(_)) => ("application/javascript", None),
    };
    let response = &mut request.response;
    response.status = Status::OK;
    response.content_type = Some(Bytes::from_static(content_type.as_bytes()));
    response.charset = charset.map(|charset| Bytes::from_static(charset.as_bytes()));
    let page = match *settings.format {
        Format::Html => {
            let html = Html {
                is_utf8: charset::is_utf8(request),
                uri: &request.uri,
                exact_size: *settings.exact_size,
                local_time: *settings.local_time,
            };
            html.page(&entries)
        }
        Format::Xml => format::xml(&entries),
        Format::Json | Format::Jsonp => format::json(&entries, callback.as_deref()),
    };
    Step::Respond(Body::bytes(page))
}

/// The name of the function that the client wants its list handed to; `None` where it names none.
fn read_callback(request: &Request) -> Result<Option<Vec<u8>>, Status> {
    const LONGEST: usize = 128;
    let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let complaint = match request.argument(b"callback") {
        None | Some(b"") => return Ok(None),
        Some(name) if name.len() > LONGEST => ("too long", name),
        Some(name) if !name.iter().all(is_name_byte) => ("invalid", name),
        Some(name) => return Ok(Some(name.to_vec())),
    };
    let (what, name) = complaint;
    log!(request.log(), Info, *request, "client sent {} callback name: \"{}\"", what, Text(name));
    Err(Status::BAD_REQUEST)
}

/// What is in a folder, hidden files left out: folders first, each group by name.
fn read_folder(request: &Request, path: &[u8]) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in std::fs::read_dir(files::as_path(path))? {
        let found = found?;
        let name = found.file_name().into_encoded_bytes();
        if !name.starts_with(b".") {
            entries.extend(read_entry(request, &found, name)?);
        }
    }
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| entry.kind != Kind::Folder;
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    Ok(entries)
}

/// A link counts as what it leads to, and as itself where that is missing. What may not be looked at is left out.
fn read_entry(request: &Request, found: &DirEntry, name: Vec<u8>) -> io::Result<Option<Entry>> {
    let path = found.path();
    let metadata = match std::fs::metadata(&path) {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || files::is_forbidden_link(&error) =>
        {
            std::fs::symlink_metadata(&path)
        }
        other => other,
    };
    match metadata {
        Ok(metadata) => Ok(Some(Entry {
            name,
            kind: Kind::of(&metadata),
            modified: metadata.mtime(),
            size: metadata.len(),
        })),
        Err(error) => {
            let path = path.as_os_str().as_encoded_bytes();
            log!(request.log(), Crit, *request, "stat() \"{}\" failed", Text(path); error);
            match error.kind() {
                io::ErrorKind::PermissionDenied => Ok(None),
                _ => Err(error),
            }
        }
    }
}

fn refuse(request: &Request, path: &[u8], error: &io::Error) -> Status {
    use io::ErrorKind::*;
    let status = match error.kind() {
        NotFound | NotADirectory | InvalidFilename => Status::NOT_FOUND,
        PermissionDenied => Status::FORBIDDEN,
        _ => Status::INTERNAL_SERVER_ERROR,
    };
    let path = Text(path);
    match status {
        Status::INTERNAL_SERVER_ERROR => {
            log!(request.log(), Crit, *request, "opendir() \"{}\" failed", path; *error);
        }
        _ => log!(request.log(), Error, *request, "opendir() \"{}\" failed", path; *error),
    }
    status
}
