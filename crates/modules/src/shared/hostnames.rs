//! A table of host names, some with a wildcard at either end, in which the most exact entry counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Values by host name.
#[derive(Clone, Debug)]
pub struct Hostnames<V> {
    exact: HashMap<Box<[u8]>, V>,
    /// What follows `*.`.
    suffixes: HashMap<Box<[u8]>, V>,
    /// What stands before `.*`.
    prefixes: HashMap<Box<[u8]>, V>,
}

/// Why a name is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Invalid,
    /// It is there already.
    Conflict,
}

impl Refusal {
    /// nginx's sentence about the name.
    pub fn sentence(self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        match self {
            Refusal::Invalid => format!("invalid hostname or wildcard \"{name}\""),
            Refusal::Conflict => format!("conflicting parameter \"{name}\""),
        }
    }
}

impl<V> Default for Hostnames<V> {
    fn default() -> Self {
        Hostnames { exact: HashMap::new(), suffixes: HashMap::new(), prefixes: HashMap::new() }
    }
}

impl<V: Clone> Hostnames<V> {
    /// Adds `www.example.com`, `*.example.com`, `www.example.*`, or `.example.com`, which is both the name and
    /// whatever is below it.
    pub fn add(&mut self, name: &[u8], value: V) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase();
        let stars = name.iter().filter(|byte| **byte == b'*').count();
        if stars > 1 || name.contains(&0) || memchr::memmem::find(&name, b"..").is_some() {
            return Err(Refusal::Invalid);
        }
        match &*name {
            [b'.', rest @ ..] if !rest.is_empty() => {
                insert(&mut self.exact, rest, value.clone())?;
                insert(&mut self.suffixes, rest, value)
            }
            [b'*', b'.', rest @ ..] if !rest.is_empty() => insert(&mut self.suffixes, rest, value),
            [rest @ .., b'.', b'*'] if !rest.is_empty() => insert(&mut self.prefixes, rest, value),
            _ if stars > 0 => Err(Refusal::Invalid),
            name => insert(&mut self.exact, name, value),
        }
    }

    /// Adds a name in which no character is special.
    pub fn add_plain(&mut self, name: &[u8], value: V) -> Result<(), Refusal> {
        insert(&mut self.exact, &name.to_ascii_lowercase(), value)
    }
}

impl<V> Hostnames<V> {
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty()
    }

    /// The value of the exact name, else of the longest suffix, else of the longest prefix. `name` is in lower case.
    pub fn find(&self, name: &[u8]) -> Option<&V> {
        let dots = || memchr::memchr_iter(b'.', name);
        self.exact
            .get(name)
            .or_else(|| match self.suffixes.is_empty() {
                true => None,
                false => dots().find_map(|dot| self.suffixes.get(&name[dot + 1..])),
            })
            .or_else(|| match self.prefixes.is_empty() {
                true => None,
                false => dots().rev().find_map(|dot| self.prefixes.get(&name[..dot])),
            })
    }
}

fn insert<V>(table: &mut HashMap<Box<[u8]>, V>, name: &[u8], value: V) -> Result<(), Refusal> {
    match table.entry(name.into()) {
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
        Entry::Occupied(_) => Err(Refusal::Conflict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_name_counts() {
        let mut table = Hostnames::default();
        for (name, value) in [
            ("example.com", 1),
            ("*.example.com", 2),
            ("*.b.example.com", 3),
            (".both.example.org", 4),
            ("www.example.*", 5),
            ("WWW.*", 6),
        ] {
            table.add(name.as_bytes(), value).unwrap();
        }
        for (name, value) in [
            ("example.com", Some(1)),
            ("a.example.com", Some(2)),
            ("a.b.example.com", Some(3)),
            ("both.example.org", Some(4)),
            ("x.both.example.org", Some(4)),
            ("www.example.net", Some(5)),
            ("www.other", Some(6)),
            ("example.org", None),
            ("www", None),
        ] {
            assert_eq!(table.find(name.as_bytes()).copied(), value, "{name}");
        }
    }

    #[test]
    fn bad_names_and_second_ones_are_refused() {
        let mut table = Hostnames::default();
        table.add(b"example.com", ()).unwrap();
        assert_eq!(table.add(b"EXAMPLE.com", ()), Err(Refusal::Conflict));
        assert_eq!(table.add(b".example.com", ()), Err(Refusal::Conflict));
        for name in ["*.*.com", "a..b", "a.*.b", "*", "*x.com"] {
            assert_eq!(table.add(name.as_bytes(), ()), Err(Refusal::Invalid), "{name}");
        }
    }
}
