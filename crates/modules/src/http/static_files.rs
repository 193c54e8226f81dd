//! Serves files. It is the last content handler: what nothing else took is a path below the location's root.
//!
//! ```nginx
//! location / { root /var/www; }
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use daemun_core::module::Module;
use daemun_core::{debug, log};
use daemun_http::body::{Body, Chunk, FileRange};
use daemun_http::core::mime;
use daemun_http::file_cache::{self, Content, Known};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step, always};
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::{escape, files};
use daemun_proto::http1::Method;

pub static MODULE: HttpModule = HttpModule {
    base: Module { name: "http_static_module", directives: &[], settings: None },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: always,
        handler: Handler::Now(serve),
    }],
    ..HttpModule::EMPTY
};

thread_local! {
    /// The path that a URI maps to.
    static PATH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn serve(request: &mut Request) -> Step {
    if !matches!(request.head.method(), Method::Get | Method::Head | Method::Post) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    if request.uri.last() == Some(&b'/') {
        return Step::Declined;
    }
    PATH.with_borrow_mut(|path| {
        path.clear();
        files::map_uri(request, path);
        debug!(request.log(), Http, *request, "http filename: \"{}\"", Text(path));
        match file_cache::find(request, path) {
            Ok(known) => {
                request.root_tested = request.error_status == 0;
                answer(request, path, &known)
            }
            Err(error) => Step::Status(files::refuse(request, path, &error)),
        }
    })
}

fn answer(request: &mut Request, path: &[u8], known: &Known) -> Step {
    if known.info.is_directory {
        return redirect_to_folder(request);
    }
    if !known.info.is_file {
        log!(request.log(), Crit, *request, "\"{}\" is not a regular file", Text(path));
        return Step::Status(Status::NOT_FOUND);
    }
    if request.head.method() == Method::Post {
        return Step::Status(Status::NOT_ALLOWED);
    }
    send(request, known)
}

/// The regular file that the URI maps to, for modules that send it in their own way; else what to do instead.
pub(super) fn find(request: &mut Request) -> Result<Rc<Known>, Step> {
    let mut path = Vec::with_capacity(128);
    files::map_uri(request, &mut path);
    debug!(request.log(), Http, *request, "http filename: \"{}\"", Text(&path));
    let known = file_cache::find(request, &path)
        .map_err(|error| Step::Status(files::refuse(request, &path, &error)))?;
    if !known.info.is_file {
        return Err(Step::Declined);
    }
    request.root_tested = request.error_status == 0;
    Ok(known)
}

/// Answers with a file: its head fields, its type by the URI's extension, and its content.
pub fn send(request: &mut Request, known: &Known) -> Step {
    mime::set_type(request);
    let with_etag = *request.core().sending.etag;
    request.doing = "sending response to client";
    let response = &mut request.response;
    response.status = Status::OK;
    response.content_length = Some(known.info.size);
    response.last_modified = Some(known.modified.clone());
    response.etag = with_etag.then(|| known.etag.clone());
    // What an upstream gave for the file it redirected to comes first.
    if with_etag && !response.headers.is_empty() {
        response.place(&Bytes::from_static(b"ETag"), response.headers.len());
    }
    response.allows_ranges = true;
    Step::Respond(match known.content() {
        _ if known.info.size == 0 => Body::Empty,
        Content::Memory(bytes) => Body::One(Chunk::Bytes(bytes.clone())),
        Content::Open(file) => {
            let file = file.clone();
            Body::One(Chunk::File(FileRange { file, offset: 0, length: known.info.size }))
        }
    })
}

/// A folder is served below its own URI, so that relative links in its index lead into it.
fn redirect_to_folder(request: &mut Request) -> Step {
    let mut location = Vec::with_capacity(request.uri.len() + 1);
    escape::path(&request.uri, &mut location);
    location.push(b'/');
    if !request.args.is_empty() {
        location.push(b'?');
        location.extend_from_slice(&request.args);
    }
    request.response.location = Some(Bytes::from(location));
    Step::Status(Status::MOVED_PERMANENTLY)
}
