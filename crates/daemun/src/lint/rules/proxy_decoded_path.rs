//! A decoded path in the URI of `proxy_pass`.

use crate::lint::header::Header;
use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Rule, Site, sample};

pub(super) static RULE: Rule = Rule {
    code: "proxy-decoded-path",
    explanation: "$uri and captures of it are decoded and are not encoded again where proxy_pass has variables: %20 \
                  reaches the other server as a space, %3F as a question mark, %0D%0A as the end of the request line; \
                  without a URI proxy_pass hands on what came",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    passes::all(site.outline).filter_map(look_at).collect()
}

fn look_at(pass: Pass<'_>) -> Option<Finding> {
    if pass.directive.name != "proxy_pass" {
        return None;
    }
    // Right behind the host there may be a variable that begins with a slash.
    let behind_host = passes::variables(pass.authority()).find(|name| PATHS.contains(name));
    let in_uri = || {
        let mut names = passes::variables(pass.uri().unwrap_or_default());
        names.find(|name| PATHS.contains(name) || is_wide_capture(pass, name))
    };
    let name = behind_host.or_else(in_uri)?;
    let message = format!("\"${name}\" is decoded, and is passed on as it is");
    let uri = sample::uri_of(pass.scope);
    let uri = match Header::of(pass.scope) {
        Some(Header::Pattern { text, .. }) => {
            sample::guess_with(&String::from_utf8_lossy(text).replace(".*", "[^]"), "a%20b")
        }
        _ => format!("{}/a%20b", uri.trim_end_matches('/')),
    };
    let example =
        Example::of(pass.scope, uri).shows("asks the other server for a URI with a space in it");
    Some(Finding { message, span: pass.word.span, example })
}

const PATHS: &[&str] = &["uri", "document_uri"];

fn is_wide_capture(pass: Pass<'_>, name: &str) -> bool {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number
        && pass.scope.outwards().any(|scope| match Header::of(scope) {
            Some(Header::Pattern { text, .. }) => takes_anything(text),
            _ => false,
        })
}

fn takes_anything(pattern: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pattern);
    ["(.*", "(.+", "([^"].iter().any(|wide| text.contains(wide))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn the_path_is_passed_on_as_it_came() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            r"location /a/ { proxy_pass http://127.0.0.1:1; }
              location /b/ { proxy_pass http://127.0.0.1:1$request_uri; }
              location ~ ^/c/(\d+)$ { proxy_pass http://127.0.0.1:1/d/$1; }",
        );
        for bad in [
            "location /a/ { proxy_pass http://127.0.0.1:1$uri; }",
            "location /a/ { proxy_pass http://127.0.0.1:1/b$uri$is_args$args; }",
            "location ~ ^/c/(.*)$ { proxy_pass http://127.0.0.1:1/d/$1; }",
        ] {
            check("proxy-decoded-path", &server(bad), &good);
        }
    }
}
