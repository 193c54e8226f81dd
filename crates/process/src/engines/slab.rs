//! A few values, by number.

pub(super) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.entries[number as usize] = Some(value);
            return number;
        }
        self.entries.push(Some(value));
        self.entries.len() as u32 - 1
    }

    /// # Panics
    /// Where nothing has this number.
    pub(super) fn remove(&mut self, number: u32) -> T {
        let value = self.entries[number as usize].take().expect("a number in use");
        self.free.push(number);
        value
    }
}
