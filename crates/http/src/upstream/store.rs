//! `proxy_store` and its like, and the cache: a response is kept as a file.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use daemun_core::script::Script;
use daemun_core::{debug, log};
use daemun_proto::http1::Method;

use super::cache::Filling;
use super::field::Field;
use super::protocol::Protocol;
use super::settings::Settings;
use crate::body::FileRange;
use crate::date;
use crate::files;
use crate::moving::{self, Manner};
use crate::request::{Request, Text};
use crate::request_body::{BodyFile, create_temporary};
use crate::status::Status;

/// Where responses are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// Where `root` or `alias` looks for the request's URI.
    OfUri,
    Computed(Script),
}

/// A response's copy as far as it has come, in a temporary file that goes with it.
pub struct Copy {
    file: BodyFile,
    /// Where in the file the body begins.
    start: u64,
    written: u64,
    /// `Content-Length`.
    expected: Option<u64>,
    purpose: Purpose,
}

/// What becomes of a copy that is whole.
enum Purpose {
    File { place: &'static Place, manner: Manner },
    Cache(Box<Filling>),
}

impl Copy {
    /// Begins the copy of a response that is to be kept. Where there can be none, the client gets its response all the
    /// same.
    pub fn begin(
        request: &mut Request,
        settings: &'static Settings,
        protocol: &dyn Protocol,
    ) -> Option<Box<Copy>> {
        if request.caching().is_some() {
            let (filling, file, start) = Filling::begin(request, protocol)?;
            let head = &request.upstream_record().head;
            let expected = head.content_length.filter(|_| !head.is_chunked);
            let purpose = Purpose::Cache(filling);
            return Some(Box::new(Copy { file, start, written: 0, expected, purpose }));
        }
        let place = settings.store.as_ref()?;
        let head = &request.upstream_record().head;
        let expected = head.content_length.filter(|_| !head.is_chunked);
        let modified = head.single(Field::LastModified).and_then(|date| date::parse(&date));
        let is_wanted = Status(head.status) == Status::OK
            && request.head.method() != Method::Head
            && !request.is_post_action;
        if !is_wanted {
            return None;
        }
        let folder = settings.temporary_folder(request);
        let manner = Manner { access: *settings.store_access, modified, creates_folders: true };
        match create_temporary(folder, false) {
            Ok(file) => {
                let purpose = Purpose::File { place, manner };
                Some(Box::new(Copy { file, start: 0, written: 0, expected, purpose }))
            }
            Err(error) => {
                let folder = folder.folder.display();
                log!(request.log(), Crit, *request, "open() in \"{}\" failed", folder; error);
                None
            }
        }
    }

    /// Adds what came next: where in the file it stands.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<FileRange> {
        let (offset, length) = (self.start + self.written, bytes.len() as u64);
        self.file.file.write_all_at(bytes, offset)?;
        self.written += length;
        if let Purpose::Cache(filling) = &self.purpose {
            filling.advance(self.written);
        }
        Ok(FileRange { file: Arc::clone(&self.file.file), offset, length })
    }

    /// Whether it is worth having also where nobody wants the response any more.
    pub fn is_for_cache(&self) -> bool {
        matches!(self.purpose, Purpose::Cache(_))
    }

    /// The response is whole, as its framing says, or its connection's end: its copy gets its name.
    pub fn settle(self, request: &mut Request, by_framing: bool) {
        let is_whole = self.expected.is_none_or(|expected| expected == self.written);
        let (place, manner) = match self.purpose {
            Purpose::Cache(filling) => {
                if is_whole || by_framing {
                    filling.settle(request, &self.file);
                }
                return;
            }
            Purpose::File { .. } if !is_whole => return,
            Purpose::File { place, manner } => (place, manner),
        };
        let path = place.path(request);
        let from = self.file.path.display();
        debug!(
            request.log(),
            Http,
            *request,
            "upstream stores \"{}\" to \"{}\"",
            from,
            Text(&path)
        );
        if path.is_empty() {
            return;
        }
        if let Err(error) = moving::put(&self.file, files::as_path(&path), &manner) {
            let to = Text(&path);
            log!(request.log(), Crit, *request, "rename() \"{}\" to \"{}\" failed", from, to; error);
        }
        // What follows in this turn sees the file.
        daemun_event::next_moment();
    }
}

impl Place {
    fn path(&self, request: &mut Request) -> Vec<u8> {
        match self {
            Place::Computed(script) => script.value(request),
            Place::OfUri => {
                let mut path = Vec::new();
                files::map_uri(request, &mut path);
                path
            }
        }
    }
}
