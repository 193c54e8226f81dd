//! COPY and MOVE.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use daemun_core::{debug, log};
use daemun_http::core::files::{self as file_settings, Root};
use daemun_http::files::{self, as_path};
use daemun_http::module::Step;
use daemun_http::moving;
use daemun_http::phases;
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::uri;
use daemun_proto::http1::Method;
use rustix::io::Errno;

use super::{Depth, SETTINGS, depth, field, refuse, refuse_body, tree};

pub(super) async fn run(request: &mut Request) -> Result<Step, Status> {
    refuse_body(request, "COPY and MOVE with body are unsupported")?;
    let (destination, shown) = destination(request)?;
    check_depth(request)?;
    let overwrites = overwrites(request)?;
    // Who may not come in there writes nothing there, whatever this location allows.
    phases::admits(request, &destination).await?;
    let (from, mut to) = paths(request, destination);
    let is_collection = to.last() == Some(&b'/');
    if is_collection {
        to.pop();
    }
    debug!(request.log(), Http, *request, "http copy from: \"{}\"", Text(&from));
    debug!(request.log(), Http, *request, "http copy to: \"{}\"", Text(&to));
    check_paths(request, &from, &to, is_collection, &shown)?;
    let there = check_target(request, &to, is_collection, overwrites, &shown)?;
    let info = fs::symlink_metadata(as_path(&from))
        .map_err(|error| refuse(request, &error, Status::NOT_FOUND, "lstat()", &from))?;
    if !info.is_dir() {
        return transfer_file(request, &from, &to);
    }
    if request.uri.last() != Some(&b'/') {
        log!(request.log(), Error, *request, "\"{}\" is collection", Text(&request.uri));
        return Err(Status::BAD_REQUEST);
    }
    match there {
        Some(true) => tree::delete_folder(request, &to)?,
        Some(false) => tree::delete_file(request, &to)?,
        None => {}
    }
    transfer_folder(request, from.strip_suffix(b"/").unwrap_or(&from), &to, &info)
}

fn transfer_file(request: &Request, from: &[u8], to: &[u8]) -> Result<Step, Status> {
    let (source, target) = (as_path(from), as_path(to));
    let done = match request.head.method() {
        Method::Move => {
            let access = moving::folder_access(*request.settings(&SETTINGS).access);
            moving::rename(source, target, Some(access))
        }
        _ => moving::copy(source, target),
    };
    match done {
        Ok(()) => Err(Status::NO_CONTENT),
        Err(error) => {
            tell_failed(request, from, to, &error);
            Err(Status::INTERNAL_SERVER_ERROR)
        }
    }
}

/// nginx's words: a copy names the file that could not be opened.
fn tell_failed(request: &Request, from: &[u8], to: &[u8], error: &std::io::Error) {
    let log = request.log();
    if request.head.method() == Method::Move {
        let (from, to) = (Text(from), Text(to));
        log!(log, Crit, *request, "rename() \"{}\" to \"{}\" failed", from, to; *error);
        return;
    }
    let can_be_read = fs::File::open(as_path(from)).is_ok();
    let culprit = Text(if can_be_read { to } else { from });
    log!(log, Crit, *request, "open() \"{}\" failed", culprit; *error);
}

fn transfer_folder(
    request: &Request,
    from: &[u8],
    to: &[u8],
    info: &fs::Metadata,
) -> Result<Step, Status> {
    let (source, target) = (as_path(from), as_path(to));
    let moves = request.head.method() == Method::Move;
    if moves && fs::rename(source, target).is_ok() {
        return Err(Status::CREATED);
    }
    moving::create_folder(target, info.permissions().mode() & 0o777)
        .map_err(|error| refuse(request, &error, Status::NOT_FOUND, "mkdir()", to))?;
    tree::copy_folder(request, source, target)?;
    if moves {
        tree::delete_folder(request, from)?;
    }
    Err(Status::CREATED)
}

/// The URI that Destination names on this server, and the header's value.
fn destination(request: &Request) -> Result<(Vec<u8>, Vec<u8>), Status> {
    let log = request.log();
    let Some(value) = field(request, b"destination") else {
        log!(log, Error, *request, "client sent no \"Destination\" header");
        return Err(Status::BAD_REQUEST);
    };
    let invalid = || {
        let value = Text(value);
        log!(log, Error, *request, "client sent invalid \"Destination\" header: \"{}\"", value);
        Status::BAD_REQUEST
    };
    let path = match value.first() {
        Some(b'/') => value,
        _ => {
            if request.host.is_empty() {
                log!(log, Error, *request, "client sent no \"Host\" header");
                return Err(Status::BAD_REQUEST);
            }
            let scheme = request.scheme().as_bytes();
            let rest = value.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(b"://"));
            let rest = rest.ok_or_else(invalid)?;
            let Some(rest) = rest.strip_prefix(&*request.host) else {
                log!(
                    log,
                    Error,
                    *request,
                    "\"Destination\" URI \"{}\" is handled by different repository than the source URI",
                    Text(value)
                );
                return Err(Status::BAD_REQUEST);
            };
            let slash = memchr::memchr(b'/', rest).ok_or_else(invalid)?;
            &rest[slash..]
        }
    };
    let Ok((destination, _)) = uri::split_unsafe(request, path) else {
        return Err(invalid());
    };
    if (request.uri.last() == Some(&b'/')) != (value.last() == Some(&b'/')) {
        log!(
            log,
            Error,
            *request,
            "both URI \"{}\" and \"Destination\" URI \"{}\" should be either collections or non-collections",
            Text(&request.uri),
            Text(value)
        );
        return Err(Status::CONFLICT);
    }
    let root = &request.settings(&file_settings::SETTINGS).root;
    if let (Some(Root::Alias(_)), Some(length)) = (&root.root, root.alias_of)
        && destination.len() < length
    {
        return Err(invalid());
    }
    Ok((destination, value.to_vec()))
}

fn check_depth(request: &Request) -> Result<(), Status> {
    let depth = depth(request, Depth::Infinity);
    let is_copy = request.head.method() == Method::Copy;
    if depth == Some(Depth::Infinity) || (is_copy && depth == Some(Depth::Zero)) {
        return Ok(());
    }
    let allowed = if is_copy { "0 or infinity" } else { "infinity" };
    log!(request.log(), Error, *request, "\"Depth\" header must be {}", allowed);
    Err(Status::BAD_REQUEST)
}

/// What Overwrite says.
fn overwrites(request: &Request) -> Result<bool, Status> {
    match field(request, b"overwrite") {
        None | Some(b"T" | b"t") => Ok(true),
        Some(b"F" | b"f") => Ok(false),
        Some(other) => {
            let other = Text(other);
            let log = request.log();
            log!(log, Error, *request, "client sent invalid \"Overwrite\" header: \"{}\"", other);
            Err(Status::BAD_REQUEST)
        }
    }
}

/// Where the URI and the destination lead.
fn paths(request: &mut Request, destination: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    files::map_uri(request, &mut from);
    let uri = std::mem::replace(&mut request.uri, destination);
    files::map_uri(request, &mut to);
    request.uri = uri;
    for path in [&mut from, &mut to] {
        path.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    }
    (from, to)
}

/// Nothing goes to where it is, and no folder into itself.
fn check_paths(
    request: &Request,
    from: &[u8],
    to: &[u8],
    is_collection: bool,
    shown: &[u8],
) -> Result<(), Status> {
    let from = from.strip_suffix(b"/").unwrap_or(from);
    let (log, uri, shown) = (request.log(), Text(&request.uri), Text(shown));
    if from == to {
        log!(
            log,
            Error,
            *request,
            "both URI \"{}\" and \"Destination\" URI \"{}\" point to the same location",
            uri,
            shown
        );
        return Err(Status::FORBIDDEN);
    }
    let is_below = |inner: &[u8], outer: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(b"/"))
    };
    if is_collection && (is_below(to, from) || is_below(from, to)) {
        let method = Text(request.head.method_name());
        log!(
            log,
            Error,
            *request,
            "\"{}\" could not be {}ed to collection \"{}\"",
            uri,
            method,
            shown
        );
        return Err(Status::FORBIDDEN);
    }
    Ok(())
}

/// Whether there is something to overwrite, and whether that is a folder.
fn check_target(
    request: &Request,
    to: &[u8],
    is_collection: bool,
    overwrites: bool,
    shown: &[u8],
) -> Result<Option<bool>, Status> {
    let info = match fs::symlink_metadata(as_path(to)) {
        Ok(info) => info,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(refuse(request, &error, Status::NOT_FOUND, "lstat()", to)),
    };
    if info.is_dir() && !is_collection {
        let (uri, method) = (Text(&request.uri), Text(request.head.method_name()));
        log!(
            request.log(),
            Error,
            *request,
            "\"{}\" could not be {}ed to collection \"{}\"",
            uri,
            method,
            Text(shown)
        );
        return Err(Status::CONFLICT);
    }
    if !overwrites {
        let error = std::io::Error::from(Errno::EXIST);
        let to = Text(to);
        log!(request.log(), Error, *request, "\"{}\" could not be created", to; error);
        return Err(Status::PRECONDITION_FAILED);
    }
    Ok(Some(info.is_dir()))
}
