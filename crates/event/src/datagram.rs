//! A connected datagram socket: what is sent to one peer, and what comes back from it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::{Deadline, Watch, timeout};

/// Messages that wait to be taken; of what comes beyond that, the oldest are dropped, as datagrams may be.
const MOST_WAITING: usize = 16;

/// A UDP socket that only its peer's messages reach. One task at a time waits for them.
pub struct Datagram {
    inbox: Rc<RefCell<Inbox>>,
    watch: Watch,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<io::Result<Vec<u8>>>,
    waiter: Option<Waker>,
}

impl Datagram {
    /// A socket at a port of the system's choice. Messages that are longer than `most` bytes are cut.
    pub fn connect(address: SocketAddr, most: usize) -> io::Result<Datagram> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&fd, &address)?;
        let fd = Rc::new(fd);
        let inbox = Rc::new(RefCell::new(Inbox::default()));
        let (source, filled) = (Rc::clone(&fd), Rc::clone(&inbox));
        let watch = Watch::new(fd, move || receive(source.as_fd(), most, &filled))?;
        Ok(Datagram { inbox, watch })
    }

    /// Sends one message; the error may be what an earlier one met with (`ConnectionRefused`).
    pub fn try_send(&self, message: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.watch, message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message, or the error that an earlier one met with.
    pub async fn recv(&self, deadline: Deadline) -> io::Result<Vec<u8>> {
        let received = timeout(deadline, poll_fn(|cx| self.poll_recv(cx))).await;
        received.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// As [`recv`](Self::recv), for whoever waits for other things too.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let mut inbox = self.inbox.borrow_mut();
        match inbox.messages.pop_front() {
            Some(message) => Poll::Ready(message),
            None => {
                inbox.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Takes one message; where there are more, the watch calls again.
fn receive(fd: BorrowedFd<'_>, most: usize, inbox: &RefCell<Inbox>) {
    let mut message = vec![0; most];
    let received = match rustix::net::recv(fd, &mut message[..], RecvFlags::empty()) {
        Ok((length, _)) => {
            message.truncate(length);
            Ok(message)
        }
        Err(Errno::AGAIN) => return,
        Err(error) => Err(error.into()),
    };
    let mut inbox = inbox.borrow_mut();
    if inbox.messages.len() == MOST_WAITING {
        inbox.messages.pop_front();
    }
    inbox.messages.push_back(received);
    if let Some(waiter) = inbox.waiter.take() {
        waiter.wake();
    }
}
