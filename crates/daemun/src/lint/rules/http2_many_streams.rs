//! `http2_max_concurrent_streams` above `keepalive_requests`.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "http2-many-streams",
    explanation: "a connection ends after keepalive_requests (1000, where it is not set), so that a client that uses all the \
                  streams it is offered is sent away in the middle of its first page and has to make a new handshake",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in site.outline.blocks("server") {
        let is_on = last(server, "http2").is_some_and(|switch| switch.args[0] == "on");
        let (streams, requests) =
            (last(server, "http2_max_concurrent_streams"), last(server, "keepalive_requests"));
        let (most, least) = (number(streams).unwrap_or(128), number(requests).unwrap_or(1000));
        let Some(place) = requests.or(streams).filter(|_| is_on && most > least) else { continue };
        let message = format!("{most} streams at a time, and {least} requests in all");
        let example = Example::of(server, "/")
            .shows(format!("ends the connection when it is the {least}th on it"));
        findings.push(Finding { message, span: place.span, example });
    }
    findings
}

fn last<'s>(server: Scope<'s>, name: &str) -> Option<&'s Directive> {
    server.outwards().find_map(|scope| scope.all(name).last()).filter(|one| !one.args.is_empty())
}

fn number(directive: Option<&Directive>) -> Option<u64> {
    directive?.args[0].as_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn a_connection_lasts_for_all_the_streams_that_it_offers() {
        let own = Identity::new(|_| {});
        let bad = own.server("http2 on; keepalive_requests 100;");
        check("http2-many-streams", &bad, &bad.replace("100", "128"));
        check("http2-many-streams", &bad, &bad.replace("http2 on;", ""));
        let more = own.server("http2 on; http2_max_concurrent_streams 2000;");
        check("http2-many-streams", &more, &more.replace("2000", "1000"));
    }
}
