//! Status pages that everybody may see.

use crate::lint::guards::is_guarded;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "status-exposed",
    explanation: "a status page tells strangers how busy the server is, and what its clients ask for",
    find,
};

const PAGES: &[&str] = &["stub_status", "server_status"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        let is_page = |name| PAGES.contains(&name);
        let mut pages = scope.directives().iter();
        let Some(page) = pages.find(|one| one.name.as_str().is_ok_and(is_page)) else {
            continue;
        };
        if is_guarded(scope) || scope.has("internal") || scope.server().is_some_and(is_local) {
            continue;
        }
        let name = &page.name;
        let message = format!("\"{name}\" without allow and deny, or a password");
        let example = Example::into(scope).shows("shows the page to everybody");
        findings.push(Finding { message, span: page.span, example });
    }
    findings
}

/// Whether a server is reached from its own machine alone.
fn is_local(server: Scope<'_>) -> bool {
    let mut addresses = server.all("listen").filter_map(|listen| listen.args.first()).peekable();
    let is_local = |text: &str| {
        ["127.", "[::1]", "unix:", "localhost"].iter().any(|start| text.starts_with(start))
    };
    addresses.peek().is_some() && addresses.all(|word| word.as_str().is_ok_and(is_local))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn a_page_is_for_some() {
        let server = |listen: &str, inside: &str| {
            format!("server {{ listen {listen}; root /srv; location = /status {{ {inside} }} }}")
        };
        let bad = server("8080", "stub_status;");
        check("status-exposed", &bad, &server("8080", "stub_status; allow 127.0.0.1; deny all;"));
        check("status-exposed", &bad, &server("127.0.0.1:8080", "stub_status;"));
        check(
            "status-exposed",
            &server("8080", "server_status;"),
            &server("unix:/s", "server_status;"),
        );
    }
}
