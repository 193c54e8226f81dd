//! Connections to upstream servers between two requests: each thread keeps its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use daemun_event::Deadline;
use daemun_upstream::{Group, GroupId, Peer};

use super::connect::Upstream;

/// What connections to a peer differ in.
#[derive(Clone, Copy)]
pub struct Manner {
    /// The location that it belongs to, where the group's connections are not shared.
    pub owner: usize,
    pub is_http2: bool,
}

/// A connection that waits for a request.
struct Idle {
    upstream: Upstream,
    peer: Arc<Peer>,
    manner: Manner,
    until: Deadline,
}

#[derive(Default)]
struct Kept {
    /// By group; the one that was used last stands first.
    groups: Vec<VecDeque<Idle>>,
    /// The task that closes connections whose time is up, or whose server has closed them.
    keeper: Option<Waker>,
    has_keeper: bool,
}

thread_local! {
    /// A thread serves one configuration.
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// A connection to a peer of that address, if one is kept.
pub fn take(
    group: &Group,
    peer: &Peer,
    manner: Manner,
    tls_name: Option<&str>,
) -> Option<Upstream> {
    let is_local = group.keepalive?.local;
    let GroupId(place) = group.id?;
    KEPT.with_borrow_mut(|kept| {
        let idle = kept.groups.get_mut(place as usize)?;
        loop {
            let fits = |one: &Idle| {
                one.peer.address == peer.address
                    && (!is_local || one.manner.owner == manner.owner)
                    && one.speaks(tls_name, manner)
            };
            let found = idle.remove(idle.iter().position(fits)?)?;
            // What its server has closed meanwhile is of no use.
            let mut found = found;
            if found.is_usable() {
                let mut upstream = found.upstream;
                upstream.requests += 1;
                upstream.is_kept = true;
                upstream.sent = 0;
                return Some(upstream);
            }
        }
    })
}

/// Keeps a connection, unless it has served enough, or closes it.
pub fn keep(group: &Group, peer: Arc<Peer>, manner: Manner, upstream: Upstream) {
    let (Some(limits), Some(GroupId(place))) = (group.keepalive, group.id) else { return };
    let age = Duration::from_millis(daemun_event::now().saturating_sub(upstream.started));
    if u64::from(upstream.requests) >= limits.requests || age > limits.time {
        return;
    }
    let until = Deadline::after(limits.timeout);
    let mut idle = Idle { upstream, peer, manner, until };
    let surplus = KEPT.with_borrow_mut(|kept| {
        if !idle.watch(kept.keeper.as_ref()) {
            return Some(idle);
        }
        let place = place as usize;
        if place >= kept.groups.len() {
            kept.groups.resize_with(place + 1, VecDeque::new);
        }
        let group = &mut kept.groups[place];
        group.push_front(idle);
        let surplus = if group.len() > limits.connections { group.pop_back() } else { None };
        if !std::mem::replace(&mut kept.has_keeper, true) {
            daemun_event::spawn(poll_fn(poll_keeper));
        }
        surplus
    });
    drop(surplus);
}

/// Looks after all connections whenever something happens to one of them.
fn poll_keeper(cx: &mut Context<'_>) -> Poll<()> {
    let ended = KEPT.with_borrow_mut(|kept| {
        kept.keeper = Some(cx.waker().clone());
        let mut ended = Vec::new();
        for group in &mut kept.groups {
            for _ in 0..group.len() {
                let Some(mut idle) = group.pop_front() else { break };
                match idle.watch(Some(cx.waker())) {
                    true => group.push_back(idle),
                    false => ended.push(idle),
                }
            }
        }
        ended
    });
    drop(ended);
    Poll::Pending
}

impl Idle {
    /// Whether it is as one would be made: a connection over TLS is for the terms and the name that it was made with.
    fn speaks(&self, tls_name: Option<&str>, manner: Manner) -> bool {
        if self.manner.is_http2 != manner.is_http2 {
            return false;
        }
        let session = self.upstream.tls.as_ref();
        let name = session.and_then(|session| session.facts().server_name.as_deref());
        name == tls_name.map(str::as_bytes) && (name.is_none() || self.manner.owner == manner.owner)
    }

    /// Nothing came, so the server has not closed it, and its time is not up. The kernel is asked each time: a response
    /// that nobody asked for may have come since the thread last heard, and would be the next client's.
    fn is_usable(&mut self) -> bool {
        !self.upstream.stream.peer_closed()
            && !self.until.has_passed()
            && is_quiet(&mut self.upstream)
            && self.upstream.stream.is_silent()
            && self.upstream.http2.as_ref().is_none_or(|link| link.is_usable())
    }

    /// Has the keeper woken for it; `false` where it has ended.
    fn watch(&mut self, keeper: Option<&Waker>) -> bool {
        if !is_quiet(&mut self.upstream) {
            return false;
        }
        let Some(keeper) = keeper else { return true };
        let mut readable = self.upstream.stream.readable(self.until);
        let polled = Pin::new(&mut readable).poll(&mut Context::from_waker(keeper));
        polled.is_pending()
    }
}

/// Nothing is known to have come. That it may be readable can be left from before its last response was read: then
/// asking tells, and has later bytes told of.
fn is_quiet(upstream: &mut Upstream) -> bool {
    if upstream.http2.is_some() {
        return listens(upstream);
    }
    let finds_nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    let mut transport = upstream.transport();
    !transport.may_be_readable() || transport.try_recv(&mut [0; 1]).is_err_and(finds_nothing)
}

/// The same over HTTP/2, whose servers have something to say at any time: that is heard and answered.
fn listens(upstream: &mut Upstream) -> bool {
    let Some(mut link) = upstream.http2.take() else { return false };
    let mut buffer = [0; 1024];
    let is_well = loop {
        match upstream.transport().try_recv(&mut buffer) {
            Ok(received @ 1..) if link.take_in(&buffer[..received]) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
            _ => break false,
        }
    };
    let unsent = link.unsent();
    let is_heard = unsent.is_empty()
        || upstream.transport().try_send(unsent, false).is_ok_and(|sent| sent == unsent.len());
    unsent.clear();
    upstream.http2 = Some(link);
    is_well && is_heard
}
