//! A variable where to pass requests, and nobody to ask for the addresses of names.

use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Outline, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "resolver-missing",
    explanation: "a name that comes out of a variable is looked up for each request by way of \"resolver\"; without \
                  one the request ends in 502",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    passes::all(site.outline).filter_map(|pass| look_at(site.outline, pass)).collect()
}

fn look_at(outline: &Outline<'_>, pass: Pass<'_>) -> Option<Finding> {
    let authority = pass.authority();
    let name = passes::variables(authority).find(|name| !STARTS_PATH.contains(name))?;
    if pass.scope.value("resolver").is_some() {
        return None;
    }
    let values = values_of(pass.scope, name);
    let needs_none = |value: &String| {
        let value = authority.replacen(&format!("${{{name}}}"), value, 1).replacen(
            &format!("${name}"),
            value,
            1,
        );
        let value = value.split_once("://").map_or(&*value, |(_, rest)| rest);
        let value = value.split('/').next().unwrap_or_default();
        passes::is_group(outline, value) || passes::is_address(passes::host_of(value))
    };
    if !values.is_empty() && values.iter().all(needs_none) {
        return None;
    }
    let message = format!("no resolver for the name that \"${name}\" stands for");
    let example = Example::into(pass.scope)
        .shows("is answered with 502, and \"no resolver defined\" in the log");
    Some(Finding { message, span: pass.word.span, example })
}

/// Variables that can only be the beginning of a path.
const STARTS_PATH: &[&str] = &["request_uri", "uri", "document_uri", "is_args", "args"];

/// The values that `set` and `map` give a variable, as far as they are written.
fn values_of(scope: Scope<'_>, name: &str) -> Vec<String> {
    let is_it = |text: &[u8]| text.strip_prefix(b"$") == Some(name.as_bytes());
    let mut values = Vec::new();
    for scope in scope.everywhere() {
        for set in scope.all("set") {
            if let [variable, value] = &*set.args
                && is_it(&variable.text)
            {
                values.push(value.to_str_lossy().into_owned());
            }
        }
        if scope.name() == "map" && scope.arguments().get(1).is_some_and(|word| is_it(&word.text)) {
            let lines = scope.directives().iter().filter_map(|line| line.args.first());
            values.extend(lines.map(|word| word.to_str_lossy().into_owned()));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn names_have_a_resolver() {
        let server = |inside: &str| {
            format!(
                "map $uri $group {{ default a; /b 127.0.0.1:2; }}
                 upstream a {{ server 127.0.0.1:1; }}
                 server {{ listen 8080; root /srv; location / {{ {inside} }} }}"
            )
        };
        let bad = server("set $backend app.example; proxy_pass http://$backend:8080;");
        for good in [
            "resolver 127.0.0.1; set $backend app.example; proxy_pass http://$backend:8080;",
            "set $backend 127.0.0.1; proxy_pass http://$backend:8080;",
            "set $backend http://a; proxy_pass $backend;",
            "proxy_pass http://$group;",
            "proxy_pass http://127.0.0.1:1$request_uri;",
        ] {
            check("resolver-missing", &bad, &server(good));
        }
    }
}
