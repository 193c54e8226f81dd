//! A `proxy_pass` whose URI ends otherwise than its location's name.

use crate::lint::header::Header;
use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "proxy-slash",
    explanation: "the URI of proxy_pass takes the place of the location's name and nothing else: unless both end in a \
                  slash, or neither, one is missing or there are two",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    passes::all(site.outline).filter_map(look_at).collect()
}

fn look_at(pass: Pass<'_>) -> Option<Finding> {
    let Header::Prefix { name, .. } = Header::of(pass.scope)? else {
        return None;
    };
    let uri = pass.uri().filter(|uri| !uri.contains('$'))?;
    if pass.directive.name != "proxy_pass" || uri.contains('?') {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let (message, sample) = match (name.ends_with('/'), uri.ends_with('/')) {
        (true, false) => (
            format!("location \"{name}\" ends in a slash, and the URI of its proxy_pass does not"),
            "users",
        ),
        (false, true) => (
            format!(
                "location \"{name}\" does not end in a slash, and the URI of its proxy_pass does"
            ),
            "/users",
        ),
        _ => return None,
    };
    let example = Example::of(pass.scope, format!("{name}{sample}"))
        .shows(format!("asks the other server for {uri}{sample}"));
    Some(Finding { message, span: pass.word.span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn both_end_in_a_slash_or_neither_does() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            "location /a/ { proxy_pass http://127.0.0.1:1/; }
             location /b { proxy_pass http://127.0.0.1:1/c; }
             location /d/ { proxy_pass http://127.0.0.1:1; }
             location = /e { proxy_pass http://127.0.0.1:1/; }
             location /f/ { proxy_pass http://127.0.0.1:1/find?path=; }",
        );
        for bad in
            ["/api { proxy_pass http://127.0.0.1:1/;", "/api/ { proxy_pass http://127.0.0.1:1/v1;"]
        {
            check("proxy-slash", &server(&format!("location {bad} }}")), &good);
        }
    }
}
