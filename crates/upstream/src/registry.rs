//! From the names in directives to groups. An `upstream` block may stand behind its use, so directives get a number,
//! and what it stands for is settled once the whole `http` block is read.

use std::time::Duration;

use daemun_conf::Span;
use daemun_core::load::{Fault, Loader};
use daemun_resolver::Resolver;

use crate::definition::{Definition, ServerSpec};
use crate::group::{Group, GroupId, Groups};
use crate::url::{Url, look_up};

/// The group that a directive's address means: `proxy_pass http://ADDRESS` and its like. `span` is where it stands.
pub fn request_group(loader: &mut Loader<'_>, url: &Url, span: Span) -> Result<GroupId, Fault> {
    loader.notes::<Registry>().request(url, span).map_err(|sentence| Fault::from(sentence).at(span))
}

/// Makes room for the group of an `upstream` block, before the block is read.
pub fn define_group(loader: &mut Loader<'_>, name: &str, span: Span) -> Result<GroupId, Fault> {
    let (id, complaint) = loader.notes::<Registry>().define(name, span)?;
    if let Some((sentence, span)) = complaint {
        loader.diagnostics.emerg(sentence, Some(span));
    }
    Ok(id)
}

/// Records what the block says.
pub fn describe_group(loader: &mut Loader<'_>, id: GroupId, definition: Definition) {
    loader.notes::<Registry>().0[id.0 as usize].definition = Some(definition);
}

/// Who looks up the names of a group's servers while the server runs, and how long that may take.
pub type LookUp = (Resolver, Duration);

/// Makes the groups of all that was requested and defined: addresses are looked up, which may block. `look_ups` has an
/// entry for each block, in the file's order.
pub fn settle(loader: &mut Loader<'_>, look_ups: Vec<(String, Option<LookUp>)>) -> Groups {
    let entries = std::mem::take(&mut loader.notes::<Registry>().0);
    let mut groups = Groups::default();
    for mut entry in entries {
        if let Some(definition) = &mut entry.definition {
            let its = look_ups.iter().find(|(name, _)| name.eq_ignore_ascii_case(&entry.host));
            definition.resolver = its.and_then(|(_, look_up)| look_up.clone());
        }
        let span = entry.span;
        let (name, group) = (entry.host.clone(), entry.settle());
        let group = group.unwrap_or_else(|sentence| {
            loader.diagnostics.emerg(sentence, Some(span));
            Group::implicit(name, Vec::new())
        });
        groups.add(group);
    }
    groups
}

#[derive(Default)]
struct Registry(Vec<Entry>);

/// What nginx keeps of a group while it reads.
struct Entry {
    host: String,
    port: Option<u16>,
    has_port: bool,
    /// Where it is first mentioned.
    span: Span,
    is_defined: bool,
    definition: Option<Definition>,
    /// An address that needs no look-up.
    server: Option<ServerSpec>,
}

impl Registry {
    fn request(&mut self, url: &Url, span: Span) -> Result<GroupId, String> {
        for (place, entry) in self.0.iter().enumerate() {
            if !entry.host.eq_ignore_ascii_case(&url.host) {
                continue;
            }
            if entry.is_defined && url.has_port {
                return Err(entry.may_not_have_port(url.port));
            }
            if entry.agrees_on_port(url.port) {
                return Ok(id(place));
            }
        }
        let is_whole = url.port.is_some() || !url.is_ip();
        let address = url.address.clone().filter(|_| is_whole);
        self.0.push(Entry {
            host: url.host.clone(),
            port: url.port,
            has_port: url.has_port,
            span,
            is_defined: false,
            definition: None,
            server: address.map(|address| ServerSpec::new(String::new(), vec![address])),
        });
        Ok(id(self.0.len() - 1))
    }

    /// With what is wrong about an earlier mention, and where that stands.
    #[allow(clippy::type_complexity)]
    fn define(
        &mut self,
        name: &str,
        span: Span,
    ) -> Result<(GroupId, Option<(String, Span)>), Fault> {
        let known = self.0.iter().position(|entry| entry.host.eq_ignore_ascii_case(name));
        let Some(place) = known else {
            self.0.push(Entry {
                host: name.to_owned(),
                port: None,
                has_port: false,
                span,
                is_defined: true,
                definition: None,
                server: None,
            });
            return Ok((id(self.0.len() - 1), None));
        };
        let entry = &mut self.0[place];
        if entry.is_defined {
            return Err(format!("duplicate upstream \"{name}\"").into());
        }
        let complaint = entry.has_port.then(|| (entry.may_not_have_port(entry.port), entry.span));
        entry.is_defined = true;
        entry.port = None;
        entry.server = None;
        Ok((id(place), complaint))
    }
}

impl Entry {
    fn may_not_have_port(&self, port: Option<u16>) -> String {
        format!("upstream \"{}\" may not have port {}", self.host, port.unwrap_or(0))
    }

    /// Where one of them names no port, they agree.
    fn agrees_on_port(&self, port: Option<u16>) -> bool {
        self.port.is_none() || port.is_none() || self.port == port
    }

    fn settle(self) -> Result<Group, String> {
        let host = &self.host;
        if self.is_defined {
            // a block that could not be read has been complained about
            let definition = self.definition.unwrap_or_default();
            if definition.resolves() && definition.zone.is_none() {
                let sentence = "to be in shared memory";
                return Err(format!(
                    "resolving names at run time requires upstream \"{host}\" {sentence}"
                ));
            }
            if definition.resolves() && definition.resolver.is_none() {
                return Err(format!(
                    "no resolver defined to resolve names at run time in upstream \"{host}\""
                ));
            }
            let is_primary = |server: &ServerSpec| !server.backup;
            if !definition.servers.is_empty() && !definition.servers.iter().any(is_primary) {
                return Err(format!("no servers in upstream \"{host}\""));
            }
            return Ok(Group::explicit(self.host, definition));
        }
        let server = match self.server {
            Some(server) => server,
            None => {
                let port = self.port.ok_or_else(|| format!("no port in upstream \"{host}\""))?;
                let found = look_up(host, port);
                let found = found.map_err(|reason| format!("{reason} in upstream \"{host}\""))?;
                ServerSpec::new(String::new(), found)
            }
        };
        let mut group = Group::implicit(self.host, vec![server]);
        group.port = self.port;
        Ok(group)
    }
}

fn id(place: usize) -> GroupId {
    GroupId(u32::try_from(place).expect("a configuration has fewer groups"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somewhere() -> Span {
        let (mut files, mut diagnostics) = Default::default();
        let root = daemun_conf::Root::Embedded { name: "test".into(), text: b"a;".to_vec() };
        let folder = std::path::Path::new("/");
        daemun_conf::parse(root, folder, &mut files, &mut diagnostics).directives[0].span
    }

    fn request(registry: &mut Registry, text: &str, port: Option<u16>) -> Result<u32, String> {
        let url = Url::parse(text.as_bytes(), port).unwrap();
        registry.request(&url, somewhere()).map(|id| id.0)
    }

    fn define(registry: &mut Registry, name: &str) -> (u32, Option<String>) {
        let (id, complaint) = registry.define(name, somewhere()).unwrap();
        (id.0, complaint.map(|(sentence, _)| sentence))
    }

    #[test]
    fn a_host_is_a_group_for_each_of_its_ports() {
        let mut registry = Registry::default();
        assert_eq!(request(&mut registry, "a.example", Some(80)), Ok(0));
        assert_eq!(request(&mut registry, "A.example:80", Some(80)), Ok(0));
        assert_eq!(request(&mut registry, "a.example:81/path", Some(80)), Ok(1));
        assert_eq!(request(&mut registry, "b.example", None), Ok(2));
        assert_eq!(request(&mut registry, "unix:/run/a:/x", Some(80)), Ok(3));
        assert_eq!(request(&mut registry, "unix:/run/a", Some(80)), Ok(3));
    }

    #[test]
    fn a_block_may_stand_behind_its_use() {
        let mut registry = Registry::default();
        assert_eq!(request(&mut registry, "backend", Some(80)), Ok(0));
        assert_eq!(define(&mut registry, "Backend"), (0, None));
        assert_eq!(request(&mut registry, "backend", Some(80)), Ok(0));
        assert_eq!(request(&mut registry, "backend", None), Ok(0));
    }

    #[test]
    fn a_block_has_no_port() {
        let sentence = |port| format!("upstream \"backend\" may not have port {port}");
        let mut registry = Registry::default();
        define(&mut registry, "backend");
        assert_eq!(request(&mut registry, "backend:8080", Some(80)), Err(sentence(8080)));
        let mut registry = Registry::default();
        request(&mut registry, "backend:8081", Some(80)).unwrap();
        assert_eq!(define(&mut registry, "backend"), (0, Some(sentence(8081))));
    }

    #[test]
    fn what_needs_no_look_up_is_settled_at_once() {
        let mut registry = Registry::default();
        request(&mut registry, "127.0.0.1:8080", Some(80)).unwrap();
        request(&mut registry, "127.0.0.2", None).unwrap();
        let mut settled = registry.0.into_iter().map(Entry::settle);
        let group = settled.next().unwrap().unwrap();
        assert_eq!((group.port, group.keepalive), (Some(8080), None));
        assert_eq!(group.definition.servers[0].addresses[0].to_string(), "127.0.0.1:8080");
        let sentence = settled.next().unwrap().err().unwrap();
        assert_eq!(sentence, "no port in upstream \"127.0.0.2\"");
    }

    #[test]
    fn connections_are_kept_by_default_where_there_is_a_block() {
        let kept = Group::explicit("u".to_owned(), Definition::default()).keepalive.unwrap();
        assert_eq!((kept.connections, kept.local, kept.requests), (32, true, 1000));
        assert_eq!((kept.time.as_secs(), kept.timeout.as_secs()), (3600, 60));
    }
}
