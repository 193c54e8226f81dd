//! A name that two servers of one address have.

use std::collections::HashMap;

use daemun_conf::Span;
use daemun_http::config::Server;
use daemun_http::core::{listen, server_name};

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "server-name-conflict",
    explanation: "of two servers with one name on one address the second never gets a request for it",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (address, _) in site.http.addresses() {
        let mut owners: HashMap<String, usize> = HashMap::new();
        for index in site.http.servers_on(address) {
            for (name, span) in names(&site.http.servers[index]) {
                let owner = *owners.entry(name.clone()).or_insert(index);
                if owner == index || findings.iter().any(|finding| finding.span == span) {
                    continue;
                }
                let host = match name.trim_start_matches(['*', '.']) {
                    "" => "localhost",
                    host => host,
                };
                let example = Example::of(site.outline.main(), "/")
                    .at(host, address)
                    .shows("is answered by the server that stands first");
                let message =
                    format!("another server on {address} has the name \"{name}\" already");
                findings.push(Finding { message, span, example });
            }
        }
    }
    findings
}

/// The names of a server; one without any has the empty one, where it listens.
fn names(server: &Server) -> Vec<(String, Span)> {
    let names = &server.settings().of(&server_name::SETTINGS).names.0;
    if names.is_empty() {
        let listens = &server.settings().of(&listen::SETTINGS).listens.0;
        return listens.first().map(|one| (String::new(), one.span)).into_iter().collect();
    }
    let spelled = names.iter().map(|named| &named.word);
    spelled.map(|word| (word.to_str_lossy().to_ascii_lowercase(), word.span)).collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn names_are_unique_on_an_address() {
        let two = |port: u16, name: &str| {
            format!(
                "server {{ listen 8080 default_server; server_name a.example; root /srv; }}
                 server {{ listen {port}; server_name {name}; root /srv; }}"
            )
        };
        check("server-name-conflict", &two(8080, "A.example"), &two(8080, "b.example"));
        check("server-name-conflict", &two(8080, "b.example a.example"), &two(8081, "a.example"));
    }
}
