//! Responses on their way into the cache, for whoever waits for them on the same thread: it is sent
//! what has come so far, and the rest as it comes, from the same file.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::format::FileHead;
use super::key::Hash;
use super::place::Place;
use super::waiting;
use crate::body::{self, BodyStream, Chunk, FileRange, NextChunk};
use crate::request::Request;

thread_local! {
    /// By the cache's place in memory, and the entry.
    static UNFINISHED: RefCell<HashMap<(usize, Hash), Weak<Unfinished>>> =
        RefCell::new(HashMap::new());
}

/// A response that is being stored.
pub struct Unfinished {
    name: (usize, Hash),
    pub file: Arc<File>,
    pub head: FileHead,
    /// What stands in the file before the body.
    pub prefix: Bytes,
    /// The body's length, where the upstream has told it.
    pub expected: Option<u64>,
    /// How many purges there had been when its fetch began.
    pub epoch: u64,
    written: Cell<u64>,
    end: Cell<Option<End>>,
    waiters: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

impl Unfinished {
    /// Has those who wait look at it.
    pub fn begin(
        place: &'static Place,
        hash: Hash,
        file: Arc<File>,
        head: FileHead,
        prefix: Vec<u8>,
        expected: Option<u64>,
        epoch: u64,
    ) -> Rc<Unfinished> {
        let name = name(place, hash);
        let unfinished = Rc::new(Unfinished {
            name,
            file,
            head,
            prefix: prefix.into(),
            expected,
            epoch,
            written: Cell::new(0),
            end: Cell::new(None),
            waiters: RefCell::default(),
        });
        UNFINISHED.with_borrow_mut(|all| all.insert(name, Rc::downgrade(&unfinished)));
        waiting::wake(&hash);
        unfinished
    }

    /// So many bytes of the body are in the file.
    pub fn advance(&self, written: u64) {
        self.written.set(written);
        self.wake();
    }

    /// All of it is.
    pub fn complete(&self) {
        self.end(End::Whole);
    }

    /// It comes no further, unless it is whole.
    pub fn give_up(&self) {
        if self.end.get().is_none() {
            self.end(End::Broken);
        }
    }

    fn end(&self, end: End) {
        self.end.set(Some(end));
        UNFINISHED.with_borrow_mut(|all| {
            // Another one may be on its way to the same place since.
            let is_this = |other: &Weak<Unfinished>| std::ptr::eq(other.as_ptr(), self);
            if all.get(&self.name).is_some_and(is_this) {
                all.remove(&self.name);
            }
        });
        self.wake();
    }

    fn wake(&self) {
        let waiters = self.waiters.take();
        waiters.into_iter().for_each(Waker::wake);
    }
}

fn name(place: &'static Place, hash: Hash) -> (usize, Hash) {
    (std::ptr::from_ref(place).addr(), hash)
}

/// The response that is on its way to this place.
pub fn find(place: &'static Place, hash: &Hash) -> Option<Rc<Unfinished>> {
    UNFINISHED.with_borrow(|all| all.get(&name(place, *hash))?.upgrade())
}

/// The body of one, for another client.
pub struct Following {
    unfinished: Rc<Unfinished>,
    sent: u64,
}

impl Following {
    pub fn new(unfinished: Rc<Unfinished>) -> Following {
        Following { unfinished, sent: 0 }
    }
}

impl BodyStream for Following {
    fn poll_next(&mut self, _: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        let all = &self.unfinished;
        let length = all.written.get() - self.sent;
        if length > 0 {
            let offset = all.prefix.len() as u64 + self.sent;
            self.sent += length;
            let file = Arc::clone(&all.file);
            return Poll::Ready(Some(Ok(Chunk::File(FileRange { file, offset, length }))));
        }
        match all.end.get() {
            Some(End::Whole) => Poll::Ready(None),
            Some(End::Broken) => Poll::Ready(Some(Err(body::told()))),
            None => {
                let mut waiters = all.waiters.borrow_mut();
                if !waiters.iter().any(|one| one.will_wake(cx.waker())) {
                    waiters.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
