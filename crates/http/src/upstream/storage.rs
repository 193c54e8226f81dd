//! What has come of a response and waits for its client: in memory up to a bound, then in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daemun_core::log;
use daemun_core::thread_pool::Job;

use super::settings::Settings;
use crate::body::{Chunk, FileRange};
use crate::core::aio;
use crate::request::Request;
use crate::request_body::create_temporary;

/// A queue of pieces, the oldest first.
#[derive(Default)]
pub struct Storage {
    queue: VecDeque<Chunk>,
    /// Bytes that wait in memory.
    in_memory: usize,
    file: Option<Arc<File>>,
    /// Bytes that have their place in the file.
    given: u64,
    /// Bytes that stand in the file, the first of those.
    written: u64,
    /// A thread writes them (`aio_write`): how many stand in the file after that.
    writing: Option<Job<io::Result<u64>>>,
    /// What comes behind those, as soon as they are written.
    unwritten: Vec<Bytes>,
    /// There can be no file, which has been told, or it takes no more.
    has_no_file: bool,
}

impl Storage {
    /// Adds a piece to what waits in memory.
    pub fn push(&mut self, bytes: Bytes) {
        self.in_memory += bytes.len();
        self.queue.push_back(Chunk::Bytes(bytes));
    }

    /// Adds a piece that was read ahead of the client: in memory as long as the buffers allow that, else in a file.
    pub fn push_ahead(
        &mut self,
        request: &Request,
        settings: &Settings,
        bytes: Bytes,
    ) -> io::Result<()> {
        if self.in_memory + bytes.len() <= settings.most_in_memory() {
            self.push(bytes);
            return Ok(());
        }
        // Once a piece did not fit, the file is full: shorter ones would keep reading ahead going, and all others would
        // go to memory.
        self.has_no_file |= self.given + bytes.len() as u64 > settings.most_in_file();
        let Some(file) = self.open(request, settings) else {
            self.push(bytes);
            return Ok(());
        };
        let (offset, length) = (self.given, bytes.len() as u64);
        self.given += length;
        if aio::writes(request) {
            self.unwritten.push(bytes);
        } else {
            file.write_all_at(&bytes, offset)?;
            self.written = self.given;
        }
        self.push_range(FileRange { file, offset, length });
        Ok(())
    }

    /// Has a thread write what has a place in the file, and waits for that. After an error nothing waits any more.
    pub fn poll_written(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.is_writing() {
            let written = match &mut self.writing {
                Some(job) => ready!(Pin::new(job).poll(cx)),
                None => match self.begin_writing(request) {
                    Ok(job) => {
                        self.writing = Some(job);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            self.writing = None;
            match written {
                Ok(written) => self.written = written,
                Err(error) => {
                    *self = Storage::default();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin_writing(&mut self, request: &mut Request) -> io::Result<Job<io::Result<u64>>> {
        let file = self.file.clone().ok_or(io::ErrorKind::NotFound)?;
        let mut at = self.written;
        let ticket = aio::admit(request).ok_or(io::ErrorKind::ResourceBusy)?;
        let pieces = std::mem::take(&mut self.unwritten);
        Ok(ticket.run(move || {
            for piece in pieces {
                file.write_all_at(&piece, at)?;
                at += piece.len() as u64;
            }
            Ok(at)
        }))
    }

    /// Whether a part of what waits has yet to be written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some() || !self.unwritten.is_empty()
    }

    /// Adds what stands in a file, behind what waits there already where that comes last.
    fn push_range(&mut self, range: FileRange) {
        match self.queue.back_mut() {
            Some(Chunk::File(last)) if last.is_followed_by(&range) => last.length += range.length,
            _ => self.queue.push_back(Chunk::File(range)),
        }
    }

    /// Adds a piece of which a file has a copy: in memory as long as the buffers allow that.
    pub fn push_copied(&mut self, settings: &Settings, bytes: Bytes, copy: FileRange) {
        match self.in_memory + bytes.len() <= settings.most_in_memory() {
            true => self.push(bytes),
            false => self.push_range(copy),
        }
    }

    /// Bytes that wait in memory.
    pub fn in_memory(&self) -> usize {
        self.in_memory
    }

    /// The oldest piece that can be sent: what a thread has yet to write cannot, nor what comes behind it.
    pub fn pop(&mut self) -> Option<Chunk> {
        if self.is_writing()
            && let Some(Chunk::File(range)) = self.queue.front_mut()
            && range.offset + range.length > self.written
        {
            let length = self.written.saturating_sub(range.offset);
            let written = FileRange { length, ..range.clone() };
            range.skip(length);
            return (length > 0).then_some(Chunk::File(written));
        }
        let chunk = self.queue.pop_front()?;
        if let Chunk::Bytes(bytes) = &chunk {
            self.in_memory -= bytes.len();
        }
        Some(chunk)
    }

    /// Whether more may be read ahead: no more waits in memory than the buffers allow, and what was received with the last
    /// of it.
    pub fn has_room(&self, settings: &Settings) -> bool {
        let has_file = !self.has_no_file && self.given < settings.most_in_file();
        self.in_memory < settings.most_in_memory() || has_file
    }

    /// Everything that waits, for a body that is whole.
    pub fn into_chunks(self) -> VecDeque<Chunk> {
        self.queue
    }

    /// The file, made for the first piece that goes there. It has no name any more: it is gone with its last user.
    fn open(&mut self, request: &Request, settings: &Settings) -> Option<Arc<File>> {
        if self.has_no_file {
            return None;
        }
        if self.file.is_some() {
            return self.file.clone();
        }
        let folder = settings.temporary_folder(request);
        let made = create_temporary(folder, false);
        match made {
            Ok(made) => {
                let path = made.path.display();
                let what = "an upstream response is buffered to a temporary file";
                log!(request.log(), Warn, *request, "{} {}", what, path);
                self.file = Some(Arc::clone(&made.file));
            }
            // The response is read no further ahead than memory allows.
            Err(error) => {
                self.has_no_file = true;
                let folder = folder.folder.display();
                log!(request.log(), Crit, *request, "open() in \"{}\" failed", folder; error);
            }
        }
        self.file.clone()
    }
}
