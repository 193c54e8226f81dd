//! The streams of a connection: those that are open, and those that were lately.

use std::collections::VecDeque;

use super::window::Window;

/// A stream that is open, or half of it.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub id: u32,
    pub send: Window,
    pub receive: Window,
    /// Bytes that were taken and are not given back to the peer's window yet.
    pub debt: u32,
    /// Bytes of bodies that were sent since the last look for stalled streams.
    pub moved: u32,
    /// What `content-length` leaves to come.
    pub rest: Option<u64>,
    /// The owner's number for it.
    pub slot: u32,
    pub is_local_closed: bool,
    pub is_remote_closed: bool,
    /// Client: the response's head has come. Server: it was sent.
    pub is_answered: bool,
    /// Its message is malformed: what comes yet is dropped.
    pub is_deaf: bool,
    /// The owner has something to send that the windows do not let pass.
    pub is_waiting: bool,
    /// Client: the response has no body, whatever length it tells.
    pub is_bodiless: bool,
}

impl Stream {
    pub fn new(id: u32, send: u32, receive: u32) -> Stream {
        Stream {
            id,
            send: Window::new(send),
            receive: Window::new(receive),
            debt: 0,
            moved: 0,
            rest: None,
            slot: 0,
            is_local_closed: false,
            is_remote_closed: false,
            is_answered: false,
            is_deaf: false,
            is_waiting: false,
            is_bodiless: false,
        }
    }
}

/// Open streams in the order of their ids, which is the order they come in; most often the first
/// ones end first.
#[derive(Default)]
pub struct Streams(VecDeque<Stream>);

impl Streams {
    pub fn push(&mut self, stream: Stream) {
        debug_assert!(self.0.back().is_none_or(|last| last.id < stream.id));
        self.0.push_back(stream);
    }

    fn place(&self, id: u32) -> Option<usize> {
        // A connection with one stream at a time is the most frequent one.
        match self.0.back() {
            Some(last) if last.id == id => Some(self.0.len() - 1),
            _ => self.0.binary_search_by_key(&id, |stream| stream.id).ok(),
        }
    }

    pub fn get(&self, id: u32) -> Option<&Stream> {
        self.place(id).map(|place| &self.0[place])
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.place(id).map(|place| &mut self.0[place])
    }

    pub fn remove(&mut self, id: u32) -> Option<Stream> {
        self.place(id).and_then(|place| self.0.remove(place))
    }

    /// The newest one above that id.
    pub fn above(&self, id: u32) -> Option<u32> {
        self.0.back().map(|stream| stream.id).filter(|last| *last > id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut()
    }

    pub fn allocated(&self) -> usize {
        self.0.capacity() * size_of::<Stream>()
    }
}

/// How a stream came to its end, on which it depends what may still arrive for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides have said all.
    Whole,
    ResetByPeer,
    /// What the peer sent before it knew is dropped.
    ResetByUs,
}

const REMEMBERED: usize = 8;

/// The last streams that ended. All their ids are odd: a client opens them, and we take no pushed
/// ones. So an id without its lowest bit leaves two bits for the end.
#[derive(Clone, Copy, Default)]
pub struct Closed {
    ring: [u32; REMEMBERED],
    next: u8,
}

impl Closed {
    pub fn add(&mut self, id: u32, end: End) {
        self.ring[usize::from(self.next)] = Closed::entry(id, end);
        self.next = (self.next + 1) % REMEMBERED as u8;
    }

    /// Says another end of a stream that is remembered.
    pub fn change(&mut self, id: u32, end: End) {
        if let Some(entry) = self.ring.iter_mut().find(|entry| **entry >> 2 == id >> 1) {
            *entry = Closed::entry(id, end);
        }
    }

    fn entry(id: u32, end: End) -> u32 {
        let end = match end {
            End::Whole => 1,
            End::ResetByPeer => 2,
            End::ResetByUs => 3,
        };
        id >> 1 << 2 | end
    }

    pub fn end_of(&self, id: u32) -> Option<End> {
        let is_it = |entry: &&u32| id & 1 == 1 && **entry != 0 && **entry >> 2 == id >> 1;
        let entry = self.ring.iter().find(is_it)?;
        match entry & 3 {
            1 => Some(End::Whole),
            2 => Some(End::ResetByPeer),
            _ => Some(End::ResetByUs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ends_are_remembered() {
        let mut closed = Closed::default();
        assert_eq!(closed.end_of(1), None);
        for (number, end) in
            [End::Whole, End::ResetByPeer, End::ResetByUs].into_iter().cycle().take(20).enumerate()
        {
            let id = 2 * number as u32 + 1;
            closed.add(id, end);
            assert_eq!(closed.end_of(id), Some(end));
        }
        assert_eq!((closed.end_of(23), closed.end_of(25)), (None, Some(End::Whole)));
        closed.add(0x7fff_ffff, End::ResetByUs);
        assert_eq!(closed.end_of(0x7fff_ffff), Some(End::ResetByUs));
    }

    #[test]
    fn streams_are_found_wherever_they_stand() {
        let mut streams = Streams::default();
        for id in (1..100).step_by(2) {
            streams.push(Stream::new(id, 1, 1));
        }
        assert_eq!(streams.above(97), Some(99));
        assert_eq!(streams.above(99), None);
        for id in [1, 99, 51, 49] {
            assert_eq!(streams.get(id).map(|stream| stream.id), Some(id));
            assert!(streams.remove(id).is_some() && streams.get(id).is_none());
        }
        assert_eq!(streams.len(), 46);
    }
}
