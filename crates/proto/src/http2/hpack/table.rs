//! The dynamic table (RFC 7541, sections 2.3.2 and 4).

use std::collections::VecDeque;

use super::Nature;

/// What each entry counts beside its bytes.
const OVERHEAD: usize = 32;

/// Fields that came lately. Their bytes stand in the order they came; what was evicted is a gap at
/// the front, which is closed when it is as large as what it stands before, so that each byte is
/// moved a bounded number of times.
#[derive(Default)]
pub struct Table {
    bytes: Vec<u8>,
    /// Where the oldest entry's bytes begin.
    gap: usize,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    name: u16,
    value: u16,
    /// Where its bytes begin, counted from the oldest that ever was and wrapping.
    place: u32,
    nature: Nature,
}

impl Entry {
    fn length(self) -> usize {
        usize::from(self.name) + usize::from(self.value)
    }
}

impl Table {
    /// Name and value of an entry; the newest is the first.
    pub fn get(&self, index: usize) -> Option<(&[u8], &[u8], Nature)> {
        let newest = self.entries.len().checked_sub(1)?;
        let entry = self.entries[newest.checked_sub(index)?];
        let start = self.gap + entry.place.wrapping_sub(self.entries[0].place) as usize;
        let (name, value) = self.bytes[start..start + entry.length()].split_at(entry.name.into());
        Some((name, value, entry.nature))
    }

    /// The size as the RFC counts it.
    pub fn size(&self) -> usize {
        self.bytes.len() - self.gap + self.entries.len() * OVERHEAD
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry and evicts what has no room beside it; one that is larger than all empties the
    /// table.
    pub fn insert(&mut self, name: &[u8], value: &[u8], nature: Nature, most: u16) {
        let size = name.len() + value.len() + OVERHEAD;
        let Some(room) = usize::from(most).checked_sub(size) else {
            return self.evict(0);
        };
        self.evict(room);
        // The place follows from the neighbour's, which is there or not needed.
        let place =
            self.entries.back().map_or(0, |entry| entry.place.wrapping_add(entry.length() as u32));
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        // Both are shorter than `most`.
        let (name, value) = (name.len() as u16, value.len() as u16);
        self.entries.push_back(Entry { name, value, place, nature });
    }

    /// Evicts the oldest entries until `room` holds the rest.
    pub fn evict(&mut self, room: usize) {
        while self.size() > room {
            let Some(entry) = self.entries.pop_front() else { break };
            self.gap += entry.length();
        }
        if self.gap * 2 >= self.bytes.len() {
            self.bytes.drain(..self.gap);
            self.gap = 0;
        }
    }

    /// Gives back what it does not need.
    pub fn shrink(&mut self) {
        self.bytes.drain(..self.gap);
        self.gap = 0;
        self.bytes.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// What it holds in memory beside itself.
    pub fn allocated(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_plain_list_holds() {
        let mut table = Table::default();
        let mut list: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        let mut number = 1u32;
        for step in 0..20_000 {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let name = vec![b'a' + (number >> 27) as u8 % 26; (number >> 16) as usize % 60];
            let value = vec![(number >> 8) as u8; (number >> 20) as usize % 300];
            let most = if step % 1000 < 500 { 4096 } else { 700 };
            table.evict(most.into());
            table.insert(&name, &value, Nature::default(), most);
            list.push_front((name, value));
            let size = |list: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                list.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
            };
            while size(&list) > most.into() {
                list.pop_back();
            }
            assert_eq!(table.size(), size(&list));
            for (index, (name, value)) in list.iter().enumerate() {
                assert_eq!(table.get(index), Some((&name[..], &value[..], Nature::default())));
            }
            assert_eq!(table.get(list.len()), None);
            assert!(table.bytes.len() <= 2 * 4096);
        }
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::default();
        let nature = Nature::default();
        table.insert(b"a", b"b", nature, 100);
        assert_eq!(table.size(), 34);
        table.insert(b"name", &[b'x'; 64], nature, 100);
        assert_eq!((table.size(), table.get(0).map(|(name, ..)| name)), (100, Some(&b"name"[..])));
        table.insert(b"name", &[b'x'; 65], nature, 100);
        assert!(table.is_empty() && table.size() == 0 && table.get(0).is_none());
        table.shrink();
        assert_eq!(table.allocated(), 0);
    }
}
