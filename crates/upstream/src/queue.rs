//! `queue`: requests that wait for a peer, in the order in which they came, in each thread its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How often the first one looks by itself: other workers may have given a peer back, or a `fail_timeout` be over.
pub(crate) const GLANCE: Duration = Duration::from_millis(50);

/// Those who wait.
#[derive(Debug, Default)]
pub(crate) struct Line(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<(u64, Option<Waker>)>,
    tickets: u64,
    /// Something has been given back since the first one looked.
    is_news: bool,
}

/// A place in the line, until it is dropped.
pub(crate) struct Ticket {
    line: Rc<Line>,
    number: u64,
}

impl Line {
    /// A place at the end; `None` where so many wait already.
    pub fn join(self: &Rc<Self>, most: usize) -> Option<Ticket> {
        let mut inner = self.0.borrow_mut();
        if inner.waiting.len() >= most {
            return None;
        }
        inner.tickets += 1;
        let number = inner.tickets;
        inner.waiting.push_back((number, None));
        drop(inner);
        Some(Ticket { line: Rc::clone(self), number })
    }

    /// A peer has been given back: the first one looks.
    pub fn tell(&self) {
        let mut inner = self.0.borrow_mut();
        inner.is_news = true;
        let waker = inner.waiting.front_mut().and_then(|(_, waker)| waker.take());
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Ticket {
    pub fn is_first(&self) -> bool {
        self.line.0.borrow().waiting.front().is_some_and(|(number, _)| *number == self.number)
    }

    /// Waits until this is the first place and there is news.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut inner = self.line.0.borrow_mut();
            let is_first = inner.waiting.front().is_some_and(|(number, _)| *number == self.number);
            if is_first && std::mem::take(&mut inner.is_news) {
                return Poll::Ready(());
            }
            let mine = inner.waiting.iter_mut().find(|(number, _)| *number == self.number);
            if let Some((_, waker)) = mine {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.line.0.borrow_mut().waiting.retain(|(number, _)| *number != self.number);
        // the one behind may find a peer, too
        self.line.tell();
    }
}
