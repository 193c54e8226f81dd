//! Strict-Transport-Security from servers that speak no TLS.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "hsts-without-tls",
    explanation: "browsers look at Strict-Transport-Security over TLS alone (RFC 6797 section 8.1): over plain HTTP it \
                  protects nobody",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        let mut additions = scope.all("add_header").filter(|one| is_hsts(one));
        let Some(addition) = additions.next() else { continue };
        let speaks_tls = match scope.server() {
            Some(server) => is_over_tls(server),
            None => site.http.has_tls,
        };
        if speaks_tls {
            continue;
        }
        let message = "Strict-Transport-Security is sent over plain HTTP alone".to_owned();
        let example = Example::into(scope).shows("has a field that every browser ignores");
        findings.push(Finding { message, span: addition.span, example });
    }
    findings
}

fn is_hsts(addition: &Directive) -> bool {
    let name = addition.args.first().map(|name| name.to_str_lossy().to_ascii_lowercase());
    name.as_deref() == Some("strict-transport-security")
}

fn is_over_tls(server: Scope<'_>) -> bool {
    server.all("listen").any(|listen| listen.args.iter().any(|word| *word == "ssl"))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn the_field_comes_over_tls() {
        const LINE: &str = "add_header Strict-Transport-Security max-age=63072000 always;";
        let own = Identity::new(|_| {});
        let bad = format!("server {{ listen 8080; root /srv; {LINE} }}");
        check("hsts-without-tls", &bad, &own.server(LINE));
        check("hsts-without-tls", &bad, &bad.replace("Strict-Transport-Security", "X-Other"));
        let within = format!("server {{ listen 8080; root /srv; location / {{ {LINE} }} }}");
        check("hsts-without-tls", &within, &own.server(""));
        check("hsts-without-tls", &format!("{LINE} {}", "server { listen 8080; root /srv; }"), "");
    }
}
