//! What has come of a response and waits for its client: in memory up to a bound, then in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use daemun_core::log;

use super::settings::Settings;
use crate::body::{Chunk, FileRange};
use crate::request::Request;
use crate::request_body::create_temporary;

/// A queue of pieces, the oldest first.
#[derive(Default)]
pub struct Storage {
    queue: VecDeque<Chunk>,
    /// Bytes that wait in memory.
    in_memory: usize,
    file: Option<Arc<File>>,
    /// Bytes that were written to the file.
    written: u64,
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
        let fits_file = self.written + bytes.len() as u64 <= settings.most_in_file();
        if self.in_memory + bytes.len() <= settings.most_in_memory() || !fits_file {
            self.push(bytes);
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => self.open(request, settings)?,
        };
        file.write_all_at(&bytes, self.written)?;
        let (offset, length) = (self.written, bytes.len() as u64);
        self.written += length;
        match self.queue.back_mut() {
            Some(Chunk::File(last)) => last.length += length,
            _ => self.queue.push_back(Chunk::File(FileRange { file, offset, length })),
        }
        Ok(())
    }

    pub fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.queue.pop_front()?;
        if let Chunk::Bytes(bytes) = &chunk {
            self.in_memory -= bytes.len();
        }
        Some(chunk)
    }

    /// Whether more may be read ahead.
    pub fn has_room(&self, settings: &Settings) -> bool {
        self.in_memory < settings.most_in_memory() || self.written < settings.most_in_file()
    }

    /// Everything that waits, for a body that is whole.
    pub fn into_chunks(self) -> VecDeque<Chunk> {
        self.queue
    }

    /// The file has no name any more: it is gone with its last user.
    fn open(&mut self, request: &Request, settings: &Settings) -> io::Result<Arc<File>> {
        let built_in = &request.config.surroundings.upstream_temp_path;
        let folder = settings.temp_path.as_ref().unwrap_or(built_in);
        let made = create_temporary(folder, false)?;
        log!(
            request.log(),
            Warn,
            *request,
            "an upstream response is buffered to a temporary file {}",
            made.path.display()
        );
        self.file = Some(Arc::clone(&made.file));
        Ok(Arc::clone(&made.file))
    }
}
