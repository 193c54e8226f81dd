//! A server without `root`, some of whose locations have one.

use crate::lint::header::Header;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "root-missing",
    explanation: "what no location with a root takes is looked for in the folder \"html\" below the prefix",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.blocks("server").filter_map(look_at).collect()
}

fn look_at(server: Scope<'_>) -> Option<Finding> {
    let has_root = |scope: Scope<'_>| scope.has("root");
    if server.outwards().any(has_root) || server.has("return") {
        return None;
    }
    let locations: Vec<Scope<'_>> =
        server.inner().filter(|inner| inner.name() == "location").collect();
    if !locations.iter().copied().any(has_root) {
        return None;
    }
    let is_rest = |header| matches!(header, Header::Prefix { name: b"/", .. });
    let rest = locations.iter().find(|location| Header::of(**location).is_some_and(is_rest));
    let word = match rest {
        Some(location) if answers(*location) => return None,
        Some(location) => location.arguments().last()?,
        None => return Some(finding(server, server.opener()?.name.span)),
    };
    Some(finding(server, word.span))
}

fn finding(server: Scope<'_>, span: daemun_conf::Span) -> Finding {
    let message = "the server has no root for what its other locations leave".to_owned();
    let effect = "is looked for in the folder \"html\" below the prefix";
    let example = Example::of(server, "/no-such-file").shows(effect);
    Finding { message, span, example }
}

/// Whether a location has something else to answer with than files of the server.
fn answers(location: Scope<'_>) -> bool {
    location.directives().iter().any(|directive| {
        let name = directive.name.to_str_lossy();
        matches!(
            &*name,
            "root" | "alias" | "return" | "stub_status" | "server_status" | "empty_gif" | "deny"
        ) || name.ends_with("_pass")
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn everything_has_a_root() {
        let server = |inside: &str| format!("server {{ listen 8080; {inside} }}");
        let beginners_guide = "location / { root /data/www; } location /images/ { root /data; }";
        check(
            "root-missing",
            &server("location /images/ { root /data; }"),
            &server(beginners_guide),
        );
        check(
            "root-missing",
            &server("location / { try_files $uri =404; } location /images/ { root /data; }"),
            &server("root /data; location / { try_files $uri =404; } location /a/ { root /b; }"),
        );
        check(
            "root-missing",
            &server("location = /a { root /data; }"),
            &server("location / { return 404; } location = /a { root /data; }"),
        );
    }
}
