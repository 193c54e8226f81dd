//! `proxy_buffering off` for everything.

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "buffering-off",
    explanation: "without buffering every client holds a connection of the other server for as long as it takes to \
                  receive its answer; streams of events reach clients at once with buffering too",
    find,
};

const SWITCHES: &[&str] =
    &["proxy_buffering", "fastcgi_buffering", "scgi_buffering", "uwsgi_buffering"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.scopes().filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    if !matches!(scope.name(), "http" | "server") {
        return None;
    }
    let is_off = |name: &&&str| {
        scope.all(name).any(|one| one.args.first().is_some_and(|word| *word == "off"))
    };
    let name = SWITCHES.iter().find(is_off)?;
    let span = scope.all(name).next()?.span;
    let message = format!("{name} is off for everything in this {}", scope.name());
    let example = Example::into(scope)
        .shows("holds the other server's connection while a slow client receives");
    Some(Finding { message, span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn it_is_off_where_it_is_needed() {
        let server = |outer: &str, inner: &str| {
            format!(
                "server {{ listen 8080; root /srv; {outer}
                     location /events {{ {inner} proxy_pass http://127.0.0.1:1; }} }}"
            )
        };
        check(
            "buffering-off",
            &server("proxy_buffering off;", ""),
            &server("", "proxy_buffering off;"),
        );
    }
}
