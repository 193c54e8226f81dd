//! What the kernel had no room for and has yet to send. Few connections have such a rest, so it is not kept with them.

use crate::Buffer;

/// Where the bytes of one send are, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    pub(super) const NONE: Place = Place(u32::MAX);
}

/// The bytes stay where they are in memory until they are taken.
#[derive(Default)]
pub(super) struct Sends {
    buffers: Vec<Option<Buffer>>,
    free: Vec<u32>,
}

impl Sends {
    pub(super) fn insert(&mut self, buffer: Buffer) -> Place {
        match self.free.pop() {
            Some(place) => {
                self.buffers[place as usize] = Some(buffer);
                Place(place)
            }
            None => {
                self.buffers.push(Some(buffer));
                Place(self.buffers.len() as u32 - 1)
            }
        }
    }

    pub(super) fn take(&mut self, place: Place) -> Option<Buffer> {
        let buffer = self.buffers.get_mut(place.0 as usize)?.take()?;
        self.free.push(place.0);
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again() {
        let mut sends = Sends::default();
        let first = sends.insert(Buffer::with_capacity(1));
        assert!(sends.take(first).is_some() && sends.take(first).is_none());
        assert!(sends.insert(Buffer::with_capacity(1)) == first);
        assert!(sends.take(Place::NONE).is_none());
    }
}
