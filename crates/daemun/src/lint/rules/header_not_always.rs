//! Security header fields without `always`.

use daemun_conf::Directive;

use crate::lint::sample::uri_of;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "header-not-always",
    explanation: "without \"always\" a field is added to successes and redirects only: error pages go without",
    find,
};

/// Fields that protect error pages as well.
const PROTECTING: &[&str] = &[
    "content-security-policy",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let scopes = site.outline.scopes();
    scopes
        .flat_map(|scope| scope.all("add_header").filter_map(move |one| look_at(scope, one)))
        .collect()
}

fn look_at(scope: Scope<'_>, addition: &Directive) -> Option<Finding> {
    let [name, _] = &*addition.args else {
        return None;
    };
    if !PROTECTING.contains(&name.to_str_lossy().to_ascii_lowercase().as_str()) {
        return None;
    }
    let uri = format!("{}/no-such-file", uri_of(scope).trim_end_matches('/'));
    let example = Example::of(scope, uri).shows(format!("is an error, answered without {name}"));
    Some(Finding { message: format!("{name} is left out of errors"), span: addition.span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn fields_that_protect_are_always_there() {
        let server = |line: &str| format!("server {{ listen 8080; root /srv; {line} }}");
        let bad = server("add_header X-Frame-Options DENY;");
        check("header-not-always", &bad, &server("add_header X-Frame-Options DENY always;"));
        check("header-not-always", &bad, &server("add_header X-Served-By me;"));
    }
}
