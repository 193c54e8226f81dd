//! `http2 on` where no address speaks TLS.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "http2-without-tls",
    explanation: "browsers agree on HTTP/2 in the TLS handshake and nowhere else: over a plain address they go on with \
                  HTTP/1.1; only clients that are told to begin with HTTP/2, such as gRPC's and other servers, use it",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in site.outline.blocks("server") {
        let Some(switch) = switch_of(server) else { continue };
        // A server that passes gRPC on is not for browsers.
        let serves_grpc = site.outline.scopes().any(|scope| {
            scope.server().is_some_and(|one| one.is(server))
                && scope.all("grpc_pass").next().is_some()
        });
        if serves_grpc || speaks_tls(server) || server.all("listen").next().is_none() {
            continue;
        }
        let message = "HTTP/2 without TLS, which no browser speaks".to_owned();
        let example = Example::of(server, "/").shows("is answered by HTTP/1.1 to a browser");
        findings.push(Finding { message, span: switch.span, example });
    }
    findings
}

/// The directive that turns it on for a server.
fn switch_of(server: Scope<'_>) -> Option<&Directive> {
    let switch = server.outwards().find_map(|scope| scope.all("http2").last())?;
    switch.args.first().is_some_and(|word| *word == "on").then_some(switch)
}

fn speaks_tls(server: Scope<'_>) -> bool {
    server.all("listen").any(|listen| listen.args.iter().any(|word| *word == "ssl"))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn a_browser_can_agree_on_it() {
        let own = Identity::new(|_| {});
        let bad = "server { listen 8080; root /srv; http2 on; }";
        check("http2-without-tls", bad, &own.server("http2 on;"));
        check("http2-without-tls", bad, &bad.replace("on;", "off;"));
        check("http2-without-tls", &format!("http2 on; {}", bad.replace("http2 on;", "")), "");
    }
}
