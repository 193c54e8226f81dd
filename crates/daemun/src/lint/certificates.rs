//! Certificates that servers show, and requests over TLS that bring to light what is wrong with them.

use std::collections::HashSet;

use daemun_conf::Word;
use daemun_core::listen::Address;
use daemun_http::config::Server;
use daemun_http::tls::Tls;
use daemun_http::tls::settings::SETTINGS;

use super::{Example, Site};

/// A chain of a server, in DER, and the word that names it.
pub(super) struct Shown<'s> {
    pub server: &'s Server,
    pub name: &'s Word,
    pub chain: Vec<Box<[u8]>>,
}

/// Every chain that is known before a handshake, each word of the configuration once.
pub(super) fn shown<'s>(site: &Site<'s>) -> Vec<Shown<'s>> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for server in &site.http.servers {
        let Tls::Serves(context) = &server.tls.mode else { continue };
        let names = &server.settings().of(&SETTINGS).certificates;
        let chains = context.chains();
        // One that takes another's place has no place of its own.
        if chains.len() != names.len() {
            continue;
        }
        for (source, chain) in names.iter().zip(chains) {
            let span = source.word.span;
            if seen.insert((span.file, span.start)) {
                all.push(Shown { server, name: &source.word, chain });
            }
        }
    }
    all
}

impl Example {
    /// A request over TLS to a server, at an address where it is reached so.
    pub(super) fn over_tls(site: &Site<'_>, server: &Server) -> Example {
        let is_its = |address: &Address| {
            let servers = site.http.servers_on(address);
            servers.iter().any(|index| std::ptr::eq(&site.http.servers[*index], server))
        };
        let mut addresses = site.http.addresses().filter(|(_, shared)| shared.ssl);
        let name = String::from_utf8_lossy(server.name()).into_owned();
        let name = if name.is_empty() { "localhost".to_owned() } else { name };
        let host = match addresses.find(|(address, _)| is_its(address)) {
            Some((address, _)) => match address.port() {
                Some(443) | None => name,
                Some(port) => format!("{name}:{port}"),
            },
            None => name,
        };
        let example = Example::of(site.outline.main(), "/");
        Example { host, scheme: "https", ..example }
    }
}
