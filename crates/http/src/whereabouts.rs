//! A location's place in its server, as words that mean the same place in another configuration.

use crate::config::{Location, Server};
use crate::core::routing::Match;

/// Where a location stands: the headers of the blocks around it and its own, from the outermost on. `None` where it is not in
/// this server.
pub fn tell(server: &Server, location: &Location) -> Option<Vec<Vec<u8>>> {
    let mut path = Vec::new();
    descend(&server.location, location, &mut path).then_some(path)
}

/// The location that stands there, or the innermost one around it that there is.
pub fn find<'c>(server: &'c Server, path: &[Vec<u8>]) -> &'c Location {
    let mut found = &server.location;
    for header in path {
        match inner(found).find(|(known, _)| known == header) {
            Some((_, location)) => found = location,
            None => break,
        }
    }
    found
}

/// Whether `wanted` is `here` or within it; then `path` leads there.
fn descend(here: &Location, wanted: &Location, path: &mut Vec<Vec<u8>>) -> bool {
    if std::ptr::eq(here, wanted) {
        return true;
    }
    inner(here).any(|(header, location)| {
        path.push(header);
        let is_there = descend(location, wanted, path);
        if !is_there {
            path.pop();
        }
        is_there
    })
}

/// The blocks directly inside, by their headers: the conditions of several `if` are told apart by their order.
fn inner(location: &Location) -> impl Iterator<Item = (Vec<u8>, &Location)> {
    let named = location.nested.iter().map(|inner| (header(inner), inner));
    let conditional = location.conditional.iter().enumerate();
    let conditional =
        conditional.map(|(number, inner)| (format!("if {number}").into_bytes(), inner));
    let exception = location.exception().map(|inner| (b"limit_except".to_vec(), inner));
    named.chain(conditional).chain(exception)
}

fn header(location: &Location) -> Vec<u8> {
    let (sign, name): (&[u8], &[u8]) = match location.matching() {
        None => (b"", b""),
        Some(Match::Exact(name)) => (b"= ", name),
        Some(Match::Prefix { name, .. } | Match::Named(name)) => (b"", name),
        Some(Match::Pattern { text, .. }) => (b"~ ", text),
    };
    [sign, name].concat()
}
