//! A request's body: read into memory or a file when somebody wants it, else read away.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write};
use std::mem;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use daemun_core::log;
use daemun_event::{Deadline, Turn, sleep_until};
use daemun_proto::http1::chunked::{Chunk, Decoder};
use daemun_sys::allocator;

use crate::core::aio;
use crate::core::client::{InFileOnly, TempPath};
use crate::head::Known;
use crate::request::Request;
use crate::status::Status;

/// How the body's end is known.
#[derive(Clone, Debug, Default)]
enum Framing {
    #[default]
    None,
    Length {
        total: u64,
        left: u64,
    },
    Chunked(Box<Decoder>),
    /// It ends with its stream, as whoever carries that says.
    Stream {
        /// What `content-length` says, to which whoever carries it holds the client.
        total: Option<u64>,
        received: u64,
        has_ended: bool,
    },
}

/// The body of a request, and how much of it is still to come.
#[derive(Default)]
pub struct RequestBody {
    framing: Framing,
    is_discarded: bool,
    /// A part of it was passed on as it came, or all of it: nobody can have it again.
    is_passed_on: bool,
    is_continued: bool,
    /// Its chunked coding is broken, and the error log has been told.
    is_malformed: bool,
    /// It goes to a file however short it is, without a word about it.
    in_file: bool,
    /// None is made where that can be helped.
    is_unbuffered: bool,
    /// What was read and fits into memory.
    memory: Vec<u8>,
    file: Option<Arc<BodyFile>>,
    received: u64,
    /// The same with the framing of chunks.
    taken: u64,
}

/// A body on disk.
pub struct BodyFile {
    pub path: PathBuf,
    pub file: Arc<File>,
    keep: bool,
}

impl Drop for BodyFile {
    fn drop(&mut self) {
        if !self.keep {
            // A file that is gone already is what is wanted.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl RequestBody {
    pub fn of_length(total: u64) -> RequestBody {
        RequestBody { framing: Framing::Length { total, left: total }, ..RequestBody::default() }
    }

    /// A body of HTTP/2.
    pub fn of_stream(total: Option<u64>) -> RequestBody {
        let framing = Framing::Stream { total, received: 0, has_ended: false };
        RequestBody { framing, ..RequestBody::default() }
    }

    /// Whether the client's end is the body's.
    fn end_stream(&mut self) -> bool {
        match &mut self.framing {
            Framing::Stream { has_ended, .. } => {
                *has_ended = true;
                true
            }
            _ => false,
        }
    }

    pub fn chunked() -> RequestBody {
        RequestBody { framing: Framing::Chunked(Box::default()), ..RequestBody::default() }
    }

    /// What a subrequest has: a body that was read whole, or none.
    pub fn shared(&self) -> RequestBody {
        let has_none = RequestBody { is_continued: true, ..RequestBody::default() };
        if !self.is_announced() || !self.is_complete() || !self.can_be_passed() {
            return has_none;
        }
        RequestBody {
            framing: Framing::Length { total: self.available(), left: 0 },
            in_file: self.in_file,
            memory: self.memory.clone(),
            file: self.file.clone(),
            received: self.received,
            ..has_none
        }
    }

    /// Whether the request has a body, be it an empty one.
    pub fn is_announced(&self) -> bool {
        !matches!(self.framing, Framing::None)
    }

    /// Whether it can be passed on, now or once it was read: nothing of it was thrown away or is somewhere else.
    pub fn can_be_passed(&self) -> bool {
        !self.is_discarded && !self.is_passed_on
    }

    /// How many bytes are still to come; `None` where that is not known.
    pub fn to_come(&self) -> Option<u64> {
        match &self.framing {
            Framing::None => Some(0),
            Framing::Length { left, .. } => Some(*left),
            Framing::Stream { total, received, .. } => Some((*total)?.saturating_sub(*received)),
            Framing::Chunked(_) => None,
        }
    }

    /// What `Content-Length` said.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length { total, .. } => Some(total),
            Framing::Stream { total, .. } => total,
            _ => None,
        }
    }

    pub fn is_chunked(&self) -> bool {
        matches!(self.framing, Framing::Chunked(_) | Framing::Stream { total: None, .. })
    }

    /// Whether all of it has been taken from the connection.
    pub fn is_complete(&self) -> bool {
        match &self.framing {
            Framing::None => true,
            Framing::Length { left, .. } => *left == 0,
            Framing::Chunked(decoder) => decoder.has_ended(),
            Framing::Stream { has_ended, .. } => *has_ended,
        }
    }

    pub fn is_discarded(&self) -> bool {
        self.is_discarded
    }

    /// Asks for the body in a file, for a handler that wants that.
    pub fn want_file(&mut self) {
        self.in_file = true;
    }

    /// It would be passed on as it comes if it had not come at once: no file is made for its sake.
    pub fn stay_unbuffered(&mut self) {
        self.is_unbuffered = true;
    }

    /// Too large: nobody will read it.
    pub fn refuse(&mut self) {
        self.is_discarded = true;
        self.is_continued = true;
    }

    /// Bytes of the body that have come, framing included.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes of the body that have come, without framing.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What was read into memory; empty where it went to a file.
    pub fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// Bytes of the body that were kept.
    pub fn available(&self) -> u64 {
        match self.file {
            Some(_) => self.received,
            None => self.memory.len() as u64,
        }
    }

    pub fn file(&self) -> Option<&BodyFile> {
        self.file.as_deref()
    }

    /// Takes body data from the front of `input`: how much of it was framing and data, and the data's place.
    fn take(&mut self, input: &[u8]) -> Result<Taken, Malformed> {
        match &mut self.framing {
            Framing::None => Ok(Taken::default()),
            Framing::Length { left, .. } => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Ok(Taken { consumed: length, data: (0, length) })
            }
            Framing::Stream { received, .. } => {
                *received += input.len() as u64;
                Ok(Taken { consumed: input.len(), data: (0, input.len()) })
            }
            Framing::Chunked(decoder) => {
                let mut at = 0;
                match decoder.next(input, &mut at).map_err(|_| Malformed)? {
                    Chunk::Data(length) => Ok(Taken { consumed: at, data: (at - length, at) }),
                    Chunk::End | Chunk::Incomplete => Ok(Taken { consumed: at, data: (at, at) }),
                }
            }
        }
    }
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Default)]
struct Taken {
    consumed: usize,
    data: (usize, usize),
}

/// The chunked coding is broken.
struct Malformed;

impl Request {
    /// Takes what is there of a body that nobody reads, without waiting; an error is broken framing.
    pub fn discard_available(&mut self) -> Result<(), Status> {
        while !self.body.is_complete() {
            self.body.is_discarded = true;
            let Ok(taken) = self.body.take(&self.head.bytes[self.consumed..]) else {
                return Err(self.tell_malformed());
            };
            if taken.consumed == 0 {
                break;
            }
            self.consumed += taken.consumed;
        }
        Ok(())
    }

    /// A broken body is told of once, however often it is met.
    fn tell_malformed(&mut self) -> Status {
        if !mem::replace(&mut self.body.is_malformed, true) {
            log!(self.log(), Error, *self, "client sent invalid chunked body");
        }
        Status::BAD_REQUEST
    }

    /// Reads away the rest of the body; each piece has to come within `timeout`, all of it before `until`.
    pub async fn discard_rest(
        &mut self,
        timeout: std::time::Duration,
        until: Deadline,
    ) -> io::Result<()> {
        let mut turn = Turn::default();
        while !self.body.is_complete() {
            if self.discard_available().is_err() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.body.is_complete() {
                break;
            }
            self.forget_consumed();
            let deadline = Deadline::after(timeout).min(until);
            match self.receive_more(deadline).await? {
                0 if self.body.end_stream() => {}
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                received => turn.spend(received).await,
            }
        }
        Ok(())
    }

    /// Reads the whole body into memory, or into a temporary file above `client_body_buffer_size`. One that can't be read
    /// is nobody's any more.
    pub async fn read_body(&mut self) -> Result<(), Status> {
        let read = self.read_all().await;
        self.body.is_discarded |= read.is_err();
        read
    }

    async fn read_all(&mut self) -> Result<(), Status> {
        self.send_continue().await?;
        if let Some(handle) = self.stream() {
            handle.open_window();
        }
        let settings = &self.core().client;
        let mut turn = Turn::default();
        loop {
            let taken = match self.body.take(&self.head.bytes[self.consumed..]) {
                Ok(taken) => taken,
                Err(Malformed) => {
                    return Err(self.tell_malformed());
                }
            };
            let data = self.consumed + taken.data.0..self.consumed + taken.data.1;
            self.consumed += taken.consumed;
            self.body.taken += taken.consumed as u64;
            self.body.received += data.len() as u64;
            self.check_received(data.len() as u64)?;
            self.keep_data(data).await?;
            if self.body.is_complete() {
                return self.settle_file().await;
            }
            turn.spend(taken.consumed).await;
            if taken.consumed == 0 {
                self.forget_consumed();
                let deadline = Deadline::after(*settings.body_timeout);
                match self.receive_more(deadline).await {
                    Ok(0) if self.body.end_stream() => {}
                    Ok(0) => {
                        log!(self.log(), Info, *self, "client prematurely closed connection");
                        return Err(Status::BAD_REQUEST);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(Status::REQUEST_TIMEOUT);
                    }
                    Err(_) => return Err(Status::BAD_REQUEST),
                }
            }
        }
    }

    /// Whether all of the body has come, so that reading it does not wait.
    pub fn has_body_arrived(&self) -> bool {
        let input = &self.head.bytes[self.consumed..];
        match &self.body.framing {
            Framing::None => true,
            Framing::Length { left, .. } => input.len() as u64 >= *left,
            Framing::Stream { has_ended, .. } => *has_ended,
            Framing::Chunked(decoder) => {
                let (mut decoder, mut at) = (decoder.clone(), 0);
                loop {
                    match decoder.next(input, &mut at) {
                        Ok(Chunk::Data(_)) => {}
                        Ok(Chunk::Incomplete) => return false,
                        // What is wrong is found when it is read.
                        Ok(Chunk::End) | Err(_) => return true,
                    }
                }
            }
        }
    }

    /// Takes what has come of a body that is passed on as it comes: where it stands in the head's bytes. Nothing where
    /// more has to be waited for, or the body is complete.
    pub fn take_arrived(&mut self) -> Result<Range<usize>, Status> {
        let taken = self.take_some();
        match &taken {
            Ok(data) => self.body.is_passed_on |= !data.is_empty(),
            Err(_) => self.body.is_discarded = true,
        }
        taken
    }

    fn take_some(&mut self) -> Result<Range<usize>, Status> {
        loop {
            let Ok(taken) = self.body.take(&self.head.bytes[self.consumed..]) else {
                return Err(self.tell_malformed());
            };
            let data = self.consumed + taken.data.0..self.consumed + taken.data.1;
            self.consumed += taken.consumed;
            self.body.taken += taken.consumed as u64;
            self.body.received += data.len() as u64;
            self.check_received(data.len() as u64)?;
            if !data.is_empty() || self.body.is_complete() {
                return Ok(data);
            }
            self.forget_consumed();
            match self.receive_available() {
                Ok(0) if self.body.end_stream() => {}
                Ok(0) => {
                    log!(self.log(), Info, *self, "client prematurely closed connection");
                    return Err(Status::BAD_REQUEST);
                }
                // Whoever passes the last bytes on can say that they are.
                Ok(_) if self.stream().is_some_and(|handle| handle.has_no_more()) => {
                    self.body.end_stream();
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0..0),
                Err(_) => return Err(Status::BAD_REQUEST),
            }
        }
    }

    /// Refuses a body that is too large, a chunk of it as soon as its size is known; `latest` bytes of it have just come.
    fn check_received(&self, latest: u64) -> Result<(), Status> {
        let most = *self.core().client.max_body_size;
        let begun = match &self.body.framing {
            Framing::Chunked(decoder) => decoder.left(),
            Framing::None | Framing::Length { .. } | Framing::Stream { .. } => 0,
        };
        if most == 0 || self.body.received.saturating_add(begun) <= most {
            return Ok(());
        }
        let (before, chunk) = (self.body.received - latest, latest.saturating_add(begun));
        let what = "client intended to send too large chunked body";
        log!(self.log(), Error, *self, "{}: {}+{} bytes", what, before, chunk);
        Err(Status::CONTENT_TOO_LARGE)
    }

    /// Tells a client that waits for it to send the body.
    pub async fn send_continue(&mut self) -> Result<(), Status> {
        if self.body.is_continued || !self.is_http11() || self.is_http2() {
            return Ok(());
        }
        self.body.is_continued = true;
        let waits = self
            .header(Known::Expect)
            .is_some_and(|expect| expect.eq_ignore_ascii_case(b"100-continue"));
        if !waits {
            return Ok(());
        }
        let timeout = *self.settings(&crate::core::sending::SETTINGS).send_timeout;
        let sent = self.connection_mut().transport().send_all(CONTINUE, timeout).await;
        self.sent += CONTINUE.len() as u64;
        sent.map_err(|_| Status::BAD_REQUEST)
    }

    /// Keeps data in memory. What does not fit there goes to a file: in one piece with what stands before it, since a client
    /// may send a byte at a time.
    async fn keep_data(&mut self, data: Range<usize>) -> Result<(), Status> {
        let most = self.most_in_memory();
        if self.body.memory.len() + data.len() > most {
            return self.write(data).await;
        }
        self.make_room(data.len())?;
        self.body.memory.extend_from_slice(&self.head.bytes[data]);
        Ok(())
    }

    /// How much of the body stays in memory. One whose length is known needs no more than that, if it is a quarter longer
    /// than the buffer at most.
    fn most_in_memory(&self) -> usize {
        let size = *self.core().client.body_buffer_size;
        let longer = size + size / 4;
        match self.body.content_length() {
            Some(length) if length < longer as u64 && !self.is_http2() => length as usize,
            _ => size,
        }
    }

    fn goes_to_file(&self) -> bool {
        !self.body.is_unbuffered
            && (self.body.in_file || *self.core().client.body_in_file_only != InFileOnly::Off)
    }

    /// Writes what stands in memory, and what follows it, to the body's file.
    async fn write(&mut self, data: Range<usize>) -> Result<(), Status> {
        let result = match aio::writes(self) {
            true => Box::pin(self.write_in_pool(data)).await,
            false => self.write_to_file(data),
        };
        result.map_err(|error| {
            // What stands against a place in the pool has been told.
            if error.kind() != io::ErrorKind::ResourceBusy {
                log!(self.log(), Crit, *self, "writing a request body to a file failed"; error);
            }
            Status::INTERNAL_SERVER_ERROR
        })
    }

    /// A body that memory has no room for fails alone.
    fn make_room(&mut self, more: usize) -> Result<(), Status> {
        let memory = &self.body.memory;
        if memory.capacity() - memory.len() >= more || memory.len() < LARGE {
            return Ok(());
        }
        let wanted = memory.len().max(more) * 2;
        if allocator::has_room(wanted) && self.body.memory.try_reserve(more).is_ok() {
            return Ok(());
        }
        log!(self.log(), Emerg, *self, "malloc({}) failed", wanted; allocator::shortage());
        Err(Status::INTERNAL_SERVER_ERROR)
    }

    fn write_to_file(&mut self, data: Range<usize>) -> io::Result<()> {
        let mut file = self.open_file()?;
        let memory = std::mem::take(&mut self.body.memory);
        if !memory.is_empty() {
            file.write_all(&memory)?;
        }
        file.write_all(&self.head.bytes[data])
    }

    /// `aio_write`: a thread writes, the order is kept by waiting for it.
    async fn write_in_pool(&mut self, data: Range<usize>) -> io::Result<()> {
        let mut file = self.open_file()?;
        let mut bytes = std::mem::take(&mut self.body.memory);
        bytes.extend_from_slice(&self.head.bytes[data]);
        let ticket = aio::admit(self).ok_or(io::ErrorKind::ResourceBusy)?;
        ticket.run(move || file.write_all(&bytes)).await
    }

    /// The body's file, made for the first part of it.
    fn open_file(&mut self) -> io::Result<Arc<File>> {
        if let Some(file) = &self.body.file {
            return Ok(Arc::clone(&file.file));
        }
        let settings = &self.core().client;
        let keep = *settings.body_in_file_only == InFileOnly::On;
        let folder =
            settings.body_temp_path.as_ref().unwrap_or(&self.config.surroundings.body_temp_path);
        let made = create_temporary(folder, keep)?;
        if !self.body.in_file {
            log!(
                self.log(),
                Warn,
                *self,
                "a client request body is buffered to a temporary file {}",
                made.path.display()
            );
        }
        let file = Arc::clone(&made.file);
        self.body.file = Some(Arc::new(made));
        Ok(file)
    }

    /// The body is complete: a part of it that is in memory goes to its file, if it has one, or is to have one however short
    /// it is.
    async fn settle_file(&mut self) -> Result<(), Status> {
        let is_unwritten = self.body.file.is_none() || !self.body.memory.is_empty();
        if is_unwritten && (self.body.file.is_some() || self.goes_to_file()) {
            let at = self.consumed;
            return self.write(at..at).await;
        }
        Ok(())
    }

    /// Drops body bytes that have been taken, so that a long body needs no long buffer.
    fn forget_consumed(&mut self) {
        let start = self.head_end;
        if self.consumed > start {
            self.head.bytes.drain(start..self.consumed);
            self.consumed = start;
        }
    }

    async fn receive_on_stream(&mut self, deadline: Deadline) -> io::Result<usize> {
        let mut limit = sleep_until(deadline);
        loop {
            match self.receive_available() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
            let arrived = poll_fn(|cx| match self.poll_arrival(cx) {
                Poll::Pending => Pin::new(&mut limit).poll(cx).map(|()| false),
                Poll::Ready(_) => Poll::Ready(true),
            });
            if !arrived.await {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Waits for more bytes behind those that are there; 0 is the client's end.
    pub async fn receive_more(&mut self, deadline: Deadline) -> io::Result<usize> {
        if self.stream().is_some() {
            return self.receive_on_stream(deadline).await;
        }
        let received = self.connection_mut().transport().recv_pooled(deadline).await?;
        self.head.bytes.extend_from_slice(&received);
        Ok(received.len())
    }
}

/// What is smaller is there, or nothing is.
const LARGE: usize = 256 * 1024;

/// Makes a new file below `folder`, in folders named after the last digits of its number.
pub fn create_temporary(folder: &TempPath, keep: bool) -> io::Result<BodyFile> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number =
            u64::from(std::process::id()) * 100_000 + NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:010}", number % 10_000_000_000);
        let mut path = folder.folder.clone();
        let mut end = name.len();
        for level in &folder.levels {
            path.push(&name[end - level..end]);
            end -= level;
        }
        if !folder.levels.is_empty() {
            std::fs::create_dir_all(&path)?;
        }
        path.push(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        match file {
            Ok(file) => return Ok(BodyFile { path, file: Arc::new(file), keep }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a temporary file beside the one that it will become, and the folders on the way.
pub fn create_at(path: &Path) -> io::Result<BodyFile> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number =
            u64::from(std::process::id()) * 100_000 + NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:010}", number % 10_000_000_000));
        let name = PathBuf::from(name);
        match File::options().read(true).write(true).create_new(true).open(&name) {
            Ok(file) => return Ok(BodyFile { path: name, file: Arc::new(file), keep: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = name.parent().ok_or(error)?;
                std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
            }
            Err(error) => return Err(error),
        }
    }
}
