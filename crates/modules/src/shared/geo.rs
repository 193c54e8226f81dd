//! `geo`: a variable whose value depends on an address.

mod networks;
mod ranges;
mod steps;

use std::net::IpAddr;
use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::address;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::{Definition, Session, VariableId};
use daemun_event::Peer;

use super::{forwarded, network, variable_name};
use networks::Networks;
use ranges::Ranges;
use steps::Steps;

/// From addresses to values.
struct Geo {
    /// The variable with the address; `None` is the client.
    source: Option<VariableId>,
    proxies: Vec<Cidr>,
    is_recursive: bool,
    values: Vec<Box<[u8]>>,
    v4: Steps<u32>,
    /// `None` where all that is no IPv4 address counts as the last one of these.
    v6: Option<Steps<u128>>,
}

/// A place among the values of a block.
type ValueId = usize;

/// Where there is no entry, not even a default, the value is empty.
const EMPTY: ValueId = 0;

/// Reads a block and defines its variable.
pub fn load(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (source, name) = match &*directive.args {
        [source, name] => {
            let variable = variable_name(source)?;
            (Some(loader.variables.refer(variable, source.span)), name)
        }
        args => (None, &args[0]),
    };
    let variable = variable_name(name)?;
    let mut reader = Reader::default();
    let entries = directive.block.as_ref().map_or(&[][..], |block| &block.directives);
    for entry in entries {
        reader.read(loader, entry)?;
    }
    let is_volatile = reader.is_volatile;
    let geo = reader.finish(source);
    let compute = Arc::new(move |session: &mut dyn Session, out: &mut Vec<u8>| {
        out.extend_from_slice(geo.value(session));
        true
    });
    let definition = Definition::Computed { compute, volatile: is_volatile };
    loader.variables.define(variable, definition, name.span);
    Ok(())
}

impl Geo {
    fn value(&self, session: &mut dyn Session) -> &[u8] {
        let ip = self.address(session).and_then(|peer| peer.ip()).map(|ip| ip.to_canonical());
        let id = match (ip, &self.v6) {
            (Some(IpAddr::V4(v4)), _) => self.v4.find(v4.to_bits()),
            (Some(IpAddr::V6(v6)), Some(table)) => table.find(v6.to_bits()),
            _ => self.v4.find(u32::MAX),
        };
        &self.values[id]
    }

    fn address(&self, session: &mut dyn Session) -> Option<Peer> {
        let peer = match self.source {
            None => session.client(),
            Some(id) => {
                let mut text = Vec::new();
                session.variable(id, &mut text);
                let ip = address::ip(std::str::from_utf8(&text).ok()?)?;
                Peer::from(std::net::SocketAddr::new(ip, 0))
            }
        };
        if self.proxies.is_empty() {
            return Some(peer);
        }
        let values = session.forwarded_for();
        let behind = forwarded::client_behind(peer, &values, &self.proxies, self.is_recursive);
        Some(behind.unwrap_or(peer))
    }
}

/// A block while it is read.
#[derive(Default)]
struct Reader {
    proxies: Vec<Cidr>,
    is_recursive: bool,
    is_volatile: bool,
    values: Vec<Box<[u8]>>,
    networks: Option<Networks>,
    ranges: Option<Ranges>,
    /// Of ranges.
    default: Option<ValueId>,
}

impl Reader {
    fn read(&mut self, loader: &mut Loader<'_>, entry: &conf::Directive) -> Result<(), Fault> {
        let key = &entry.name;
        let fault = |sentence: &str| Fault::from(sentence.to_owned()).at(key.span);
        let value = match &*entry.args {
            [] if key == "ranges" => {
                if self.networks.is_some() {
                    return Err(fault(
                        "the \"ranges\" directive must be the first directive inside \"geo\" block",
                    ));
                }
                self.ranges.get_or_insert_default();
                return Ok(());
            }
            [] if key == "proxy_recursive" => {
                self.is_recursive = true;
                return Ok(());
            }
            [] if key == "volatile" => {
                self.is_volatile = true;
                return Ok(());
            }
            [value] => value,
            _ => return Err(fault("invalid number of the geo parameters")),
        };
        if key == "proxy" {
            self.proxies.push(network(loader, value)?);
            return Ok(());
        }
        match self.ranges {
            Some(_) => self.read_range(loader, key, value),
            None => self.read_network(loader, key, value),
        }
    }

    fn read_range(
        &mut self,
        loader: &mut Loader<'_>,
        key: &conf::Word,
        value: &conf::Word,
    ) -> Result<(), Fault> {
        let id = self.intern(&value.text);
        let Some(ranges) = &mut self.ranges else {
            return Ok(());
        };
        if key == "default" {
            if let Some(old) = self.default.replace(id) {
                let old = String::from_utf8_lossy(&self.values[old]);
                let message =
                    format!("duplicate default geo range value: \"{value}\", old value: \"{old}\"");
                loader.warn(key.span, message);
            }
            return Ok(());
        }
        if key == "delete" {
            if !ranges.delete(ranges::parse(value)?) {
                loader.warn(value.span, format!("no address range \"{value}\" to delete"));
            }
            return Ok(());
        }
        let olds = ranges.add(ranges::parse(key)?, id).map_err(|overlap| {
            Fault::from(format!("range \"{key}\" overlaps \"{overlap}\"")).at(key.span)
        })?;
        for old in olds {
            let old = String::from_utf8_lossy(&self.values[old]);
            let message =
                format!("duplicate range \"{key}\", value: \"{value}\", old value: \"{old}\"");
            loader.warn(key.span, message);
        }
        Ok(())
    }

    fn read_network(
        &mut self,
        loader: &mut Loader<'_>,
        key: &conf::Word,
        value: &conf::Word,
    ) -> Result<(), Fault> {
        let id = self.intern(&value.text);
        let networks = self.networks.get_or_insert_default();
        if key == "delete" {
            if !networks.delete(network(loader, value)?) {
                loader.warn(value.span, format!("no network \"{value}\" to delete"));
            }
            return Ok(());
        }
        let added = match &*key.text {
            b"default" => networks::EVERYTHING.to_vec(),
            _ => vec![network(loader, key)?],
        };
        for network in added {
            if let Some(old) = networks.add(network, id) {
                let old = String::from_utf8_lossy(&self.values[old]);
                let message = format!(
                    "duplicate network \"{key}\", value: \"{value}\", old value: \"{old}\""
                );
                loader.warn(key.span, message);
            }
        }
        Ok(())
    }

    fn intern(&mut self, value: &[u8]) -> ValueId {
        if self.values.is_empty() {
            self.values.push(Box::default());
        }
        // Neighbours often have the same value.
        let last = self.values.len() - 1;
        if *self.values[last] == *value {
            return last;
        }
        self.values.push(value.into());
        last + 1
    }

    fn finish(mut self, source: Option<VariableId>) -> Geo {
        self.intern(b"");
        let (v4, v6) = match self.ranges {
            Some(ranges) => (ranges.into_steps(self.default.unwrap_or(EMPTY)), None),
            None => {
                let (v4, v6) = self.networks.unwrap_or_default().into_steps();
                (v4, Some(v6))
            }
        };
        let Reader { proxies, is_recursive, values, .. } = self;
        Geo { source, proxies, is_recursive, values, v4, v6 }
    }
}
