//! Sending a file from a pool's threads: they read, and with `sendfile` they send, while this thread serves others.

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;

use daemun_core::debug;
use daemun_core::thread_pool::Ticket;
use rustix::io::Errno;

use super::{Pace, chunk_size, send_bytes, wait_for_client};
use crate::body::{Body, Chunk, FileRange};
use crate::core::aio;
use crate::file_reader::{self, Reader};
use crate::request::Request;
use crate::special_response;
use crate::status::Status;

/// Asks for a place in the pool before the head is sent: where there is none, the answer can still be another.
#[inline]
pub(super) fn admit(request: &mut Request, body: &mut Body) -> Option<Ticket> {
    let reads_file = match body {
        Body::One(chunk) => is_file(chunk),
        Body::Many(chunks) => chunks.iter().any(is_file),
        Body::Empty | Body::Stream(_) | Body::Relay(_) => false,
    };
    if reads_file && uses_threads(request) { admit_file(request, body) } else { None }
}

#[cold]
fn admit_file(request: &mut Request, body: &mut Body) -> Option<Ticket> {
    let ticket = aio::admit(request);
    if ticket.is_none() {
        request.response.reset();
        request.keepalive = false;
        request.error_status = Status::INTERNAL_SERVER_ERROR.0;
        *body = special_response::build(request, Status::INTERNAL_SERVER_ERROR);
    }
    ticket
}

pub(super) fn uses_threads(request: &Request) -> bool {
    request.core().sending.aio.uses_threads()
}

fn is_file(chunk: &Chunk) -> bool {
    matches!(chunk, Chunk::File(_))
}

/// Sends a file; `ticket` is for the first task.
pub(super) async fn send_file(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    range: FileRange,
    ticket: Option<Ticket>,
) -> io::Result<()> {
    let is_plain = request.connection().tls().is_none();
    let sendfile = is_plain && *request.core().sending.sendfile;
    match sendfile && !file_reader::is_direct(request, &range) {
        true => send_from_file(request, body, pace, range, ticket).await,
        false => copy_file(request, body, pace, range, ticket).await,
    }
}

async fn send_from_file(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    mut range: FileRange,
    mut ticket: Option<Ticket>,
) -> io::Result<()> {
    let most = chunk_size(*request.core().sending.sendfile_max_chunk);
    // The threads have a descriptor of their own: the connection may be closed while one of them sends.
    let socket = Arc::new(request.connection().stream.as_fd().try_clone_to_owned()?);
    while range.length > 0 {
        if !request.connection().stream.may_send() {
            ticket = None;
            wait_for_client(request, body).await?;
        }
        let allowed = pace.allow(request, body).await?.min(most);
        let count = usize::try_from(range.length).unwrap_or(usize::MAX).min(allowed);
        let (socket, file) = (Arc::clone(&socket), Arc::clone(&range.file));
        let mut offset = range.offset;
        let admitted = take(&mut ticket, request)?;
        let sent = admitted
            .run(move || rustix::fs::sendfile(&*socket, &*file, Some(&mut offset), count))
            .await;
        match sent {
            Ok(0) => return Err(file_reader::has_become_shorter()),
            Ok(sent) => {
                range.skip(sent as u64);
                request.sent += sent as u64;
                debug!(request.log(), Event, *request, "sendfile: {} of {}", sent, count);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads in the pool and sends from here.
async fn copy_file(
    request: &mut Request,
    body: &mut Body,
    pace: &mut Pace,
    mut range: FileRange,
    mut ticket: Option<Ticket>,
) -> io::Result<()> {
    let mut reader = Reader::new(request, &range);
    while range.length > 0 {
        let wanted = range.clone();
        let job = take(&mut ticket, request)?.run(move || {
            let read = reader.read(&wanted);
            (reader, read)
        });
        let (filled, read) = job.await;
        reader = filled;
        let read = read?;
        range.skip(read.len() as u64);
        send_bytes(request, body, pace, reader.bytes(read), range.length > 0).await?;
    }
    Ok(())
}

/// Behind the head nothing is left but to close the connection.
fn take(ticket: &mut Option<Ticket>, request: &mut Request) -> io::Result<Ticket> {
    match ticket.take() {
        Some(ticket) => Ok(ticket),
        None => aio::admit(request).ok_or_else(|| ErrorKind::ResourceBusy.into()),
    }
}
