//! `dav_methods`: files that clients put, delete, copy and move (WebDAV, RFC 4918, without locks and properties).
//!
//! ```nginx
//! location /upload/ {
//!     dav_methods          PUT DELETE MKCOL COPY MOVE;
//!     create_full_put_path on;
//!     dav_access           group:rw all:r;
//! }
//! ```

mod copy_move;
mod tree;

use std::io;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{debug, directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::head::Known;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::moving::{self, Manner};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::{date, escape, files};
use daemun_proto::http1::Method;
use rustix::io::Errno;

settings! {
    pub struct Settings {
        methods: Vec<Method> = Vec::new(),
        creates_path: bool = false,
        min_delete_depth: usize = 0,
        /// The bits of new files; folders get a bit to search for each to read.
        access: u32 = 0o600,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_dav_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "dav_methods" in HTTP_SERVER_LOCATION, AtLeast(1), "off", Action::Set(dav_methods),
                "Methods that change files: PUT, DELETE, MKCOL, COPY, MOVE.";
            "create_full_put_path" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.creates_path, values::flag),
                "Makes the folders that a PUT needs.";
            "min_delete_depth" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                set!(SETTINGS.min_delete_depth, values::integer),
                "How many segments a URI needs at least for DELETE.";
            "dav_access" in HTTP_SERVER_LOCATION, Between(1, 3), "user:rw",
                set!(SETTINGS.access, values::access),
                "Who may read and write new files and folders.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| !settings.of(&SETTINGS).methods.is_empty(),
        handler: Handler::Later(|request| Box::pin(handle(request))),
    }],
    ..HttpModule::EMPTY
};

async fn handle(request: &mut Request) -> Step {
    let method = request.head.method();
    if !request.settings(&SETTINGS).methods.contains(&method) {
        return Step::Declined;
    }
    let result = match method {
        Method::Put => put(request).await,
        Method::Delete => delete(request),
        Method::Mkcol => make_collection(request),
        Method::Copy | Method::Move => copy_move::run(request).await,
        _ => return Step::Declined,
    };
    // What follows in this turn sees the change.
    daemun_event::next_moment();
    result.unwrap_or_else(Step::Status)
}

async fn put(request: &mut Request) -> Result<Step, Status> {
    if request.uri.last() == Some(&b'/') {
        log!(request.log(), Error, *request, "cannot PUT to a collection");
        return Err(Status::CONFLICT);
    }
    if request.header(Known::ContentRange).is_some() {
        log!(request.log(), Error, *request, "PUT with range is unsupported");
        return Err(Status::NOT_IMPLEMENTED);
    }
    request.body.want_file();
    request.read_body().await?;
    let mut path = Vec::new();
    files::map_uri(request, &mut path);
    debug!(request.log(), Http, *request, "http put filename: \"{}\"", Text(&path));
    let status = match std::fs::metadata(files::as_path(&path)) {
        Err(_) => Status::CREATED,
        Ok(there) if there.is_dir() => {
            let error = io::Error::from(Errno::ISDIR);
            let path = Text(&path);
            log!(request.log(), Error, *request, "\"{}\" could not be created", path; error);
            return Err(Status::CONFLICT);
        }
        Ok(_) => Status::NO_CONTENT,
    };
    store(request, &path)?;
    let response = &mut request.response;
    response.status = status;
    if status == Status::CREATED {
        response.content_length = Some(0);
        tell_location(request);
    }
    Ok(Step::Respond(Body::Empty))
}

/// Moves the body's file to its place.
fn store(request: &Request, path: &[u8]) -> Result<(), Status> {
    let settings = request.settings(&SETTINGS);
    let Some(body) = request.body.file() else {
        log!(request.log(), Error, *request, "PUT request body must be in a file");
        return Err(Status::INTERNAL_SERVER_ERROR);
    };
    let manner = Manner {
        access: *settings.access,
        modified: modified(request),
        creates_folders: *settings.creates_path,
    };
    let moved = moving::put(body, files::as_path(path), &manner);
    moved.map_err(|error| {
        let (from, to) = (body.path.display(), Text(path));
        let log = request.log();
        log!(log, Crit, *request, "rename() \"{}\" to \"{}\" failed", from, to; error);
        Status::INTERNAL_SERVER_ERROR
    })
}

/// What the client says in Date.
fn modified(request: &Request) -> Option<i64> {
    date::parse(field(request, b"date")?)
}

fn field<'r>(request: &'r Request, name: &[u8]) -> Option<&'r [u8]> {
    let mut fields = request.head.fields();
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn delete(request: &mut Request) -> Result<Step, Status> {
    refuse_body(request, "DELETE with body is unsupported")?;
    check_depth_of_uri(request)?;
    let mut path = Vec::new();
    files::map_uri(request, &mut path);
    debug!(request.log(), Http, *request, "http delete filename: \"{}\"", Text(&path));
    let info = std::fs::symlink_metadata(files::as_path(&path)).map_err(|error| {
        let missing = match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR) => Status::CONFLICT,
            _ => Status::NOT_FOUND,
        };
        refuse(request, &error, missing, "lstat()", &path)
    })?;
    if !info.is_dir() {
        if !matches!(depth(request, Depth::Zero), Some(Depth::Zero | Depth::Infinity)) {
            log!(request.log(), Error, *request, "\"Depth\" header must be 0 or infinity");
            return Err(Status::BAD_REQUEST);
        }
        tree::delete_file(request, &path)?;
        return Err(Status::NO_CONTENT);
    }
    if request.uri.last() != Some(&b'/') {
        let error = io::Error::from(Errno::ISDIR);
        log!(request.log(), Error, *request, "DELETE \"{}\" failed", Text(&path); error);
        return Err(Status::CONFLICT);
    }
    if depth(request, Depth::Infinity) != Some(Depth::Infinity) {
        log!(request.log(), Error, *request, "\"Depth\" header must be infinity");
        return Err(Status::BAD_REQUEST);
    }
    path.pop();
    tree::delete_folder(request, &path)?;
    Err(Status::NO_CONTENT)
}

/// `min_delete_depth`: segments of the URI before the last.
fn check_depth_of_uri(request: &Request) -> Result<(), Status> {
    let least = *request.settings(&SETTINGS).min_delete_depth;
    let uri = request.uri.strip_suffix(b"/").unwrap_or(&request.uri);
    let depth = uri.iter().filter(|byte| **byte == b'/').count();
    if depth >= least {
        return Ok(());
    }
    let depth = request.uri.iter().filter(|byte| **byte == b'/').count();
    log!(request.log(), Error, *request, "insufficient URI depth:{} to DELETE", depth);
    Err(Status::CONFLICT)
}

fn make_collection(request: &mut Request) -> Result<Step, Status> {
    refuse_body(request, "MKCOL with body is unsupported")?;
    if request.uri.last() != Some(&b'/') {
        log!(request.log(), Error, *request, "MKCOL can create a collection only");
        return Err(Status::CONFLICT);
    }
    let mut path = Vec::new();
    files::map_uri(request, &mut path);
    path.pop();
    debug!(request.log(), Http, *request, "http mkcol path: \"{}\"", Text(&path));
    let access = moving::folder_access(*request.settings(&SETTINGS).access);
    match moving::create_folder(files::as_path(&path), access) {
        Ok(()) => {
            tell_location(request);
            Err(Status::CREATED)
        }
        Err(error) => Err(refuse(request, &error, Status::CONFLICT, "mkdir()", &path)),
    }
}

fn refuse_body(request: &Request, sentence: &str) -> Result<(), Status> {
    if request.body.content_length().unwrap_or(0) == 0 && !request.body.is_chunked() {
        return Ok(());
    }
    log!(request.log(), Error, *request, "{}", sentence);
    Err(Status::UNSUPPORTED_MEDIA_TYPE)
}

fn tell_location(request: &mut Request) {
    let mut location = Vec::with_capacity(request.uri.len());
    escape::path(&request.uri, &mut location);
    request.response.location = Some(location.into());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

/// What Depth says; `None` is nonsense, which is logged.
fn depth(request: &Request, default: Depth) -> Option<Depth> {
    match field(request, b"depth") {
        None => Some(default),
        Some(b"0") => Some(Depth::Zero),
        Some(b"1") => Some(Depth::One),
        Some(b"infinity") => Some(Depth::Infinity),
        Some(depth) => {
            let depth = Text(depth);
            log!(
                request.log(),
                Error,
                *request,
                "client sent invalid \"Depth\" header: \"{}\"",
                depth
            );
            None
        }
    }
}

/// Logs why a call failed; the status for it.
fn refuse(
    request: &Request,
    error: &io::Error,
    missing: Status,
    call: &str,
    path: &[u8],
) -> Status {
    let status = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => missing,
        Some(Errno::ACCESS | Errno::PERM) => Status::FORBIDDEN,
        Some(Errno::EXIST) => Status::NOT_ALLOWED,
        Some(Errno::NOSPC) => Status::INSUFFICIENT_STORAGE,
        _ => Status::INTERNAL_SERVER_ERROR,
    };
    let path = Text(path);
    match status {
        Status::INSUFFICIENT_STORAGE | Status::INTERNAL_SERVER_ERROR => {
            log!(request.log(), Crit, *request, "{} \"{}\" failed", call, path; *error);
        }
        _ => log!(request.log(), Error, *request, "{} \"{}\" failed", call, path; *error),
    }
    status
}

fn dav_methods(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mut methods = Vec::new();
    for word in &directive.args {
        methods.push(match &*word.text.to_ascii_lowercase() {
            b"off" => continue,
            b"put" => Method::Put,
            b"delete" => Method::Delete,
            b"mkcol" => Method::Mkcol,
            b"copy" => Method::Copy,
            b"move" => Method::Move,
            _ => return Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        });
    }
    loader.settings(&SETTINGS).methods.set(methods)?;
    Ok(())
}
