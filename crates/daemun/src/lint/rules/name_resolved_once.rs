//! A host's name that is looked up when the server starts and never again.

use daemun_conf::Span;

use crate::lint::passes;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "name-resolved-once",
    explanation: "a name in proxy_pass or in a group is looked up when the configuration is read: addresses that \
                  change are not noticed until the next reload; \"resolve\" with a zone and a resolver notices",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let outline = site.outline;
    let passed = passes::all(outline)
        .filter(|pass| !pass.is_group(outline) && is_name(pass.host()))
        .map(|pass| finding(pass.scope, pass.word.span, pass.host()));
    let members = outline.blocks("upstream").flat_map(|group| {
        group.all("server").filter_map(move |server| {
            let address = server.args.first()?;
            let host = passes::host_of(address.as_str().ok()?);
            let is_kept_up = server.args.iter().any(|parameter| *parameter == "resolve");
            (is_name(host) && !is_kept_up).then(|| finding(group, address.span, host))
        })
    });
    passed.chain(members).collect()
}

/// A name that somebody else may change.
fn is_name(host: &str) -> bool {
    !host.is_empty()
        && !passes::is_address(host)
        && !host.contains('$')
        && !host.eq_ignore_ascii_case("localhost")
}

fn finding(scope: Scope<'_>, span: Span, host: &str) -> Finding {
    let message = format!("\"{host}\" is looked up once, when the configuration is read");
    let example = Example::into(scope)
        .shows(format!("goes where \"{host}\" was at the start, wherever it is by then"));
    Finding { message, span, example }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    /// `127.1` is looked up as a name is, and needs nobody to answer.
    #[test]
    fn names_are_kept_up() {
        let http = |group: &str, address: &str| {
            format!(
                "resolver 127.0.0.1; upstream a {{ zone a 64k; {group} }}
                 server {{ listen 8080; root /srv; location / {{ proxy_pass http://{address}; }} }}"
            )
        };
        let good =
            http("server app.example resolve; server 127.0.0.1:2; server unix:/run/a.sock;", "a");
        check("name-resolved-once", &http("server 127.1:80;", "a"), &good);
        check("name-resolved-once", &http("server 127.0.0.1:2;", "127.1:8080"), &good);
        assert!(super::is_name("app.example") && !super::is_name("localhost"));
    }
}
