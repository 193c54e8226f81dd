//! Descriptors that are no connections: signals, channels, pipes.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::backends::{Key, Level};
use crate::reactor;
use crate::sources::Owner;

/// Calls back while a descriptor is readable (level-triggered), until it is dropped.
pub struct Watch {
    fd: Rc<OwnedFd>,
    key: Key,
    index: u32,
}

impl Watch {
    /// The callback may share the descriptor.
    pub fn new(fd: impl Into<Rc<OwnedFd>>, callback: impl FnMut() + 'static) -> io::Result<Watch> {
        let fd = fd.into();
        let callback: Callback = Rc::new(RefCell::new(callback));
        let (key, index) = reactor::with(|inner| {
            let index = inner.watches().insert(callback);
            let key = inner.sources().insert(Owner::Watch, index);
            (key, index)
        });
        let watch = Watch { fd, key, index };
        reactor::with(|inner| inner.backend().add_level(watch.fd.as_fd(), key, Level::Readable))?;
        Ok(watch)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let callback = reactor::try_with(|inner| {
            // it fails where it was never added
            let _ = inner.backend().remove(self.fd.as_fd(), self.key);
            inner.sources().remove(self.key.slot());
            inner.watches().remove(self.index)
        });
        drop(callback);
    }
}

/// Shared, so that a callback may drop its own watch.
type Callback = Rc<RefCell<dyn FnMut()>>;

#[derive(Default)]
pub(crate) struct Watches {
    callbacks: Vec<Option<Callback>>,
}

impl Watches {
    fn insert(&mut self, callback: Callback) -> u32 {
        let vacant = self.callbacks.iter().position(Option::is_none);
        let index = vacant.unwrap_or_else(|| {
            self.callbacks.push(None);
            self.callbacks.len() - 1
        });
        self.callbacks[index] = Some(callback);
        index as u32
    }

    fn remove(&mut self, index: u32) -> Option<Callback> {
        self.callbacks.get_mut(index as usize)?.take()
    }

    pub(crate) fn callback(&self, index: u32) -> Option<Callback> {
        self.callbacks.get(index as usize)?.clone()
    }
}
