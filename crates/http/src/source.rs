//! A body as bytes, for filters that have to see them, and bodies made of another's bytes.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use daemun_event::{Deadline, Sleep, Turn, sleep_until};

use crate::body::{Body, BodyStream, Chunk, FileRange, NextChunk};
use crate::core::aio;
use crate::file_reader::Reader;
use crate::request::Request;

/// Reads a body piece by piece: files as `output_buffers`, `directio` and `aio` have it.
pub struct Source {
    body: Body,
    file: Option<(Reader, FileRange)>,
    job: Option<Job>,
    /// Bytes yielded since others had their turn.
    in_a_row: usize,
}

/// A thread reads: the reader comes back with the place of what it read.
type Job = Pin<Box<dyn Future<Output = (Reader, FileRange, io::Result<Range<usize>>)>>>;

/// How much is read before others have their turn.
const IN_A_ROW: usize = daemun_event::IN_A_TURN;

impl Source {
    pub fn new(body: Body) -> Source {
        Source { body, file: None, job: None, in_a_row: 0 }
    }

    /// The next bytes, never empty; `None` is the end.
    pub fn poll_bytes(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.in_a_row >= IN_A_ROW {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if self.job.is_some() || self.file.is_some() {
                match ready!(self.poll_file(request, cx)) {
                    Some(read) => return Poll::Ready(Some(self.counted(read))),
                    None => continue,
                }
            }
            match ready!(self.body.poll_next(request, cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(Chunk::Bytes(bytes))) => {
                    return Poll::Ready(Some(self.counted(Ok(bytes))));
                }
                Some(Ok(Chunk::File(range))) => {
                    self.file = Some((Reader::new(request, &range), range));
                }
            }
        }
    }

    /// Lets the body go on while the client takes nothing.
    pub fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        self.body.poll_ahead(request, cx);
    }

    /// As [`BodyStream::patience`]. Who reads a file is not silent.
    fn patience(&self) -> Option<Duration> {
        let reads = self.job.is_some() || self.file.is_some();
        if reads { None } else { self.body.patience() }
    }

    /// Takes the next bytes, or waits for them.
    pub async fn next(&mut self, request: &mut Request) -> Option<io::Result<Bytes>> {
        std::future::poll_fn(|cx| self.poll_bytes(request, cx)).await
    }

    fn counted(&mut self, read: io::Result<Bytes>) -> io::Result<Bytes> {
        self.in_a_row += read.as_ref().map_or(0, Bytes::len);
        read
    }

    /// The next bytes of the file in hand; `None` where it has come to its end.
    fn poll_file(
        &mut self,
        request: &mut Request,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(job) = &mut self.job {
            let (reader, range, read) = ready!(job.as_mut().poll(cx));
            self.job = None;
            return Poll::Ready(Some(self.take(reader, range, read)));
        }
        let Some((mut reader, range)) = self.file.take().filter(|(_, range)| range.length > 0)
        else {
            return Poll::Ready(None);
        };
        if !request.core().sending.aio.uses_threads() {
            let read = reader.read(&range);
            return Poll::Ready(Some(self.take(reader, range, read)));
        }
        let Some(ticket) = aio::admit(request) else {
            return Poll::Ready(Some(Err(io::ErrorKind::ResourceBusy.into())));
        };
        self.job = Some(Box::pin(ticket.run(move || {
            let read = reader.read(&range);
            (reader, range, read)
        })));
        self.poll_file(request, cx)
    }

    fn take(
        &mut self,
        reader: Reader,
        mut range: FileRange,
        read: io::Result<Range<usize>>,
    ) -> io::Result<Bytes> {
        let bytes = Bytes::copy_from_slice(reader.bytes(read?));
        range.skip(bytes.len() as u64);
        self.file = Some((reader, range));
        Ok(bytes)
    }
}

/// Makes other bytes of a body's bytes.
pub trait Transform {
    /// It may keep back what it was fed, until it is fed more or flushed.
    const HOLDS: bool = false;

    /// Takes some input, and appends what can be said of it so far.
    fn feed(&mut self, request: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()>;

    /// Whether it has more to say of what it was fed: it is fed nothing until it has. A little input may make very much
    /// output, which nobody has room for at once.
    fn has_more(&self) -> bool {
        false
    }

    /// Appends what can be said of all that it was fed.
    fn flush(&mut self, _out: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }

    /// Appends what is still to be said, once there is no more input.
    fn finish(&mut self, request: &mut Request, out: &mut Vec<u8>) -> io::Result<()>;
}

/// The body that `transform` makes of `body`.
pub fn transformed(body: Body, transform: impl Transform + 'static) -> Body {
    let source = Some(Source::new(body));
    Body::stream(Transformed { source, transform, holds: false, lull: None, turn: Turn::default() })
}

/// About as much as a transform makes of its input before it is asked for more.
pub const MADE_AT_ONCE: usize = 32 * 1024;

struct Transformed<T> {
    /// `None` once it has ended.
    source: Option<Source>,
    transform: T,
    /// It was fed since it was flushed.
    holds: bool,
    /// Until it is flushed, where no more comes before.
    lull: Option<Sleep>,
    /// Bytes made since others had their turn.
    turn: Turn,
}

impl<T: Transform> Transformed<T> {
    /// Nothing comes at present: what is held goes out once that has lasted too long.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> NextChunk {
        let patience = self.source.as_ref().and_then(Source::patience);
        let Some(patience) = patience.filter(|_| self.holds) else {
            return Poll::Pending;
        };
        if !patience.is_zero() {
            let lull = self.lull.get_or_insert_with(|| sleep_until(Deadline::after(patience)));
            ready!(Pin::new(lull).poll(cx));
        }
        self.lull = None;
        self.holds = false;
        let mut out = Vec::new();
        match self.transform.flush(&mut out) {
            Err(error) => Poll::Ready(Some(Err(error))),
            Ok(()) if out.is_empty() => Poll::Pending,
            Ok(()) => Poll::Ready(Some(Ok(Chunk::Bytes(out.into())))),
        }
    }
}

impl<T: Transform> BodyStream for Transformed<T> {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        let mut out = Vec::new();
        while let Some(source) = &mut self.source {
            let next = match self.transform.has_more() {
                true if self.turn.spends(MADE_AT_ONCE) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                true => Poll::Ready(Some(Ok(Bytes::new()))),
                false => source.poll_bytes(request, cx),
            };
            let result = match next {
                Poll::Pending => return self.poll_flush(cx),
                Poll::Ready(Some(Ok(bytes))) => {
                    self.holds = T::HOLDS;
                    self.lull = None;
                    self.transform.feed(request, bytes, &mut out)
                }
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => {
                    self.source = None;
                    self.transform.finish(request, &mut out)
                }
            };
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Chunk::Bytes(out.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn patience(&self) -> Option<Duration> {
        self.source.as_ref().and_then(Source::patience)
    }

    fn poll_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) {
        if let Some(source) = &mut self.source {
            source.poll_ahead(request, cx);
        }
    }
}
