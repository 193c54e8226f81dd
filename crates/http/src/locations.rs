//! Finding a location: exact names and prefixes in a tree, then patterns in the file's order.

use std::collections::HashMap;

use daemun_core::debug;
use daemun_pattern::StepLimit;

use crate::config::Location;
use crate::core::routing::Match;
use crate::prefix_tree::PrefixTree;
use crate::request::{Request, Text};
use crate::trace::Event;

/// The locations directly inside a server or a location.
#[derive(Default)]
pub struct Locations {
    /// Sorted by name.
    names: Vec<Name>,
    tree: PrefixTree,
    /// Some location redirects to its name where that lacks its last slash.
    has_folders: bool,
    patterns: Vec<Location>,
    named: HashMap<Vec<u8>, Location>,
}

/// A name of exact and prefix locations; there may be one of each.
struct Name {
    name: Vec<u8>,
    exact: Option<Box<Location>>,
    prefix: Option<Box<Location>>,
}

/// How a search among names ended.
enum Found {
    Exact(&'static Location),
    Prefix(&'static Location),
    None,
}

impl Locations {
    /// The error is the name, where there was a location of that name already.
    pub fn add(&mut self, location: Location) -> Result<(), Vec<u8>> {
        match location.matching() {
            None => Ok(()),
            Some(Match::Pattern { .. }) => {
                self.patterns.push(location);
                Ok(())
            }
            Some(Match::Named(name)) if self.named.contains_key(name) => Err(name.clone()),
            Some(Match::Named(name)) => {
                self.named.insert(name.clone(), location);
                Ok(())
            }
            Some(Match::Exact(name)) => self.add_name(name.clone(), true, location),
            Some(Match::Prefix { name, .. }) => self.add_name(name.clone(), false, location),
        }
    }

    fn add_name(
        &mut self,
        name: Vec<u8>,
        is_exact: bool,
        location: Location,
    ) -> Result<(), Vec<u8>> {
        let at = match self.names.binary_search_by(|entry| entry.name.cmp(&name)) {
            Ok(at) => at,
            Err(at) => {
                self.names.insert(at, Name { name, exact: None, prefix: None });
                at
            }
        };
        let entry = &mut self.names[at];
        let place = if is_exact { &mut entry.exact } else { &mut entry.prefix };
        if place.is_some() {
            return Err(entry.name.clone());
        }
        *place = Some(Box::new(location));
        Ok(())
    }

    /// Plants the tree, once all names have been added.
    pub fn link(&mut self) {
        self.names.shrink_to_fit();
        self.patterns.shrink_to_fit();
        let names: Vec<&[u8]> = self.names.iter().map(|entry| entry.name.as_slice()).collect();
        self.tree = PrefixTree::of(&names);
        self.has_folders = self.names.iter().any(|entry| entry.folder().is_some());
    }

    pub fn named(&self, name: &[u8]) -> Option<&Location> {
        self.named.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Location> {
        let names = self.names.iter().flat_map(|name| [&name.exact, &name.prefix]);
        let names = names.filter_map(|location| location.as_deref());
        names.chain(&self.patterns).chain(self.named.values())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Location> {
        let names = self.names.iter_mut();
        let names = names.flat_map(|name| [&mut name.exact, &mut name.prefix]);
        let names = names.filter_map(|location| location.as_deref_mut());
        names.chain(&mut self.patterns).chain(self.named.values_mut())
    }

    fn find_name(&'static self, uri: &[u8]) -> Found {
        let mut found = Found::None;
        self.tree.prefixes(uri, |at| {
            let entry = &self.names[at];
            match (&entry.exact, &entry.prefix) {
                (Some(exact), _) if entry.name.len() == uri.len() => found = Found::Exact(exact),
                (_, Some(prefix)) => found = Found::Prefix(prefix),
                _ => {}
            }
        });
        match found {
            Found::Exact(_) => found,
            _ if self.has_folders => self.find_folder(uri).unwrap_or(found),
            _ => found,
        }
    }

    /// The location whose name is the URI and a slash, where it redirects there, and no other is named so exactly.
    fn find_folder(&'static self, uri: &[u8]) -> Option<Found> {
        if self.names.binary_search_by(|entry| entry.name.as_slice().cmp(uri)).is_ok() {
            return None;
        }
        let folder = || uri.iter().chain(b"/");
        let at = self.names.binary_search_by(|entry| entry.name.iter().cmp(folder())).ok()?;
        self.names[at].folder().map(Found::Exact)
    }
}

impl Name {
    fn folder(&self) -> Option<&Location> {
        let ends_so = self.name.ends_with(b"/");
        let mut both = [&self.exact, &self.prefix].into_iter().filter_map(|one| one.as_deref());
        both.find(|location| ends_so && location.passes())
    }
}

/// Finds the location of the request's URI below `outer`; `outer` itself where none inside matches.
///
/// As in nginx the patterns of the innermost matching prefix are tried first, then those around it, unless an
/// exact match or a `^~` prefix settles it. An error is a pattern that ran into its step limit.
pub fn find(
    request: &mut Request,
    outer: &'static Location,
) -> Result<&'static Location, StepLimit> {
    Ok(search(request, outer)?.map_or(outer, |found| found.location))
}

struct Settled {
    location: &'static Location,
    /// No pattern further out may take over.
    is_final: bool,
}

fn search(request: &mut Request, outer: &'static Location) -> Result<Option<Settled>, StepLimit> {
    let mut best = None;
    let mut try_patterns = true;
    match outer.nested.find_name(&request.uri) {
        Found::Exact(location) => {
            request.trace(|_| Event::Named(location));
            return Ok(Some(Settled { location, is_final: true }));
        }
        Found::Prefix(location) => {
            request.trace(|_| Event::Named(location));
            try_patterns = !location.outranks_patterns();
            let inner = search(request, location)?;
            if let Some(inner) = inner {
                if inner.is_final {
                    return Ok(Some(inner));
                }
                best = Some(inner.location);
            } else {
                best = Some(location);
            }
        }
        Found::None => {}
    }
    if try_patterns && let Some(location) = match_pattern(request, &outer.nested)? {
        let location = find(request, location)?;
        return Ok(Some(Settled { location, is_final: true }));
    }
    Ok(best.map(|location| Settled { location, is_final: false }))
}

fn match_pattern(
    request: &mut Request,
    locations: &'static Locations,
) -> Result<Option<&'static Location>, StepLimit> {
    if locations.patterns.is_empty() {
        return Ok(None);
    }
    let uri = std::mem::take(&mut request.uri);
    let tried = locations.patterns.iter().map(|location| match location.matching() {
        Some(Match::Pattern { text, pattern }) => {
            debug!(request.log(), Http, *request, "test location: ~ \"{}\"", Text(text));
            let matches = request.matches(pattern, &uri)?;
            request.trace(|_| Event::Tried { location, matches });
            Ok(matches.then_some(location))
        }
        _ => Ok(None),
    });
    let found = tried.filter_map(Result::transpose).next().transpose();
    request.uri = uri;
    found
}
