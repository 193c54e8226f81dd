//! Finding a virtual server by host: exact names, then wildcards, the longest first, then patterns in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use daemun_pattern::StepLimit;

use crate::config::{HttpConfig, Server};
use crate::core::server_name::{self, ServerName};
use crate::request::Request;

/// A server's position in the configuration.
pub type ServerIndex = usize;

/// The names of the servers on one address.
#[derive(Default)]
pub struct ServerNames {
    exact: HashMap<Vec<u8>, ServerIndex>,
    /// With the leading dot.
    suffixes: HashMap<Vec<u8>, ServerIndex>,
    /// With the trailing dot.
    prefixes: HashMap<Vec<u8>, ServerIndex>,
    /// Server and position among its names.
    patterns: Vec<(ServerIndex, usize)>,
}

impl ServerNames {
    /// Adds a server's name, the `position`th; `false` where another server has it already.
    pub fn add(&mut self, name: &ServerName, server: ServerIndex, position: usize) -> bool {
        match name {
            ServerName::Exact(name) => insert(&mut self.exact, name, server),
            ServerName::Suffix { suffix, with_apex } => {
                let apex = !with_apex || insert(&mut self.exact, &suffix[1..], server);
                insert(&mut self.suffixes, suffix, server) && apex
            }
            ServerName::Prefix(prefix) => insert(&mut self.prefixes, prefix, server),
            ServerName::Pattern(_) => {
                self.patterns.push((server, position));
                true
            }
            ServerName::Malformed => true,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.suffixes.is_empty()
            && self.prefixes.is_empty()
            && self.patterns.is_empty()
    }

    /// Whether looking a host up can lead to another server than the only one, or leave captures.
    pub fn matters(&self, only: ServerIndex) -> bool {
        let tables = [&self.exact, &self.suffixes, &self.prefixes];
        let mut servers = tables.into_iter().flat_map(HashMap::values);
        !self.patterns.is_empty() || servers.any(|server| *server != only)
    }

    /// The server that answers to `host`, which is in lower case. An error is a pattern that ran into its step limit.
    pub fn find(
        &self,
        config: &'static HttpConfig,
        request: &mut Request,
        host: &[u8],
    ) -> Result<Option<&'static Server>, StepLimit> {
        Ok(self.find_index(config, request, host)?.map(|index| &config.servers[index]))
    }

    /// As [`find`](Self::find): its position.
    pub fn find_index(
        &self,
        config: &'static HttpConfig,
        request: &mut Request,
        host: &[u8],
    ) -> Result<Option<ServerIndex>, StepLimit> {
        let by_name =
            self.exact.get(host).or_else(|| self.by_suffix(host)).or_else(|| self.by_prefix(host));
        if let Some(index) = by_name {
            return Ok(Some(*index));
        }
        for (index, position) in &self.patterns {
            let server = &config.servers[*index];
            let named = &server.settings().of(&server_name::SETTINGS).names.0[*position];
            if let ServerName::Pattern(pattern) = &named.name
                && request.matches(pattern, host)?
            {
                return Ok(Some(*index));
            }
        }
        Ok(None)
    }

    fn by_suffix(&self, host: &[u8]) -> Option<&ServerIndex> {
        if self.suffixes.is_empty() {
            return None;
        }
        memchr::memchr_iter(b'.', host).find_map(|dot| self.suffixes.get(&host[dot..]))
    }

    fn by_prefix(&self, host: &[u8]) -> Option<&ServerIndex> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut dots = memchr::memrchr_iter(b'.', host).filter(|dot| dot + 1 < host.len());
        dots.find_map(|dot| self.prefixes.get(&host[..=dot]))
    }
}

fn insert(table: &mut HashMap<Vec<u8>, ServerIndex>, name: &[u8], server: ServerIndex) -> bool {
    match table.entry(name.to_vec()) {
        Entry::Vacant(entry) => {
            entry.insert(server);
            true
        }
        Entry::Occupied(entry) => *entry.get() == server,
    }
}
