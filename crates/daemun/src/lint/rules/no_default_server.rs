//! Several servers on an address, and none is said to be the default.

use daemun_conf::Span;
use daemun_core::listen::Address;
use daemun_http::config::Server;
use daemun_http::core::{listen, server_name};

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "no-default-server",
    explanation: "hosts that nobody has are answered by the first server of the address, whichever file that is in",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut told = Vec::new();
    for (address, shared) in site.http.addresses() {
        let count = site.http.servers_on(address).len();
        let first = &site.http.servers[shared.default];
        let is_told = told.contains(&(shared.default, address.port()));
        if count < 2 || shared.has_explicit_default() || takes_all(first) || is_told {
            continue;
        }
        let Some(span) = place_of(first, address) else {
            continue;
        };
        told.push((shared.default, address.port()));
        let name = String::from_utf8_lossy(first.name());
        let message = format!(
            "none of the {count} servers on {address} is the default: \"{name}\" is, being the first"
        );
        let example = Example::of(site.outline.main(), "/")
            .at("unknown.invalid", address)
            .shows(format!("is answered by \"{name}\""));
        findings.push(Finding { message, span, example });
    }
    findings
}

fn place_of(server: &Server, address: &Address) -> Option<Span> {
    let listens = &server.settings().of(&listen::SETTINGS).listens.0;
    listens.iter().find(|one| one.spec.address == *address).map(|one| one.span)
}

/// Whether a server is plainly meant for the hosts that no other has.
fn takes_all(server: &Server) -> bool {
    let names = &server.settings().of(&server_name::SETTINGS).names.0;
    names.is_empty() || names.iter().any(|named| named.word == "_" || named.word == "")
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn one_server_is_the_default() {
        let two = |listen: &str, name: &str| {
            format!(
                "server {{ listen {listen}; server_name {name}; root /srv; }}
                 server {{ listen 8080; server_name b.example; root /srv; }}"
            )
        };
        let bad = two("8080", "a.example");
        check("no-default-server", &bad, &two("8080 default_server", "a.example"));
        check("no-default-server", &bad, &two("8080", "_"));
        check("no-default-server", &bad, &two("8081", "a.example"));
    }
}
