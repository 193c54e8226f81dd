//! The address that requests are passed to, made of what the client sent.

use crate::lint::header::Header;
use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "address-from-request",
    explanation: "whoever asks decides where the request goes, to servers behind the firewall too; a map from what \
                  may be asked for to where it is leaves the choice with you",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    passes::all(site.outline).filter_map(look_at).collect()
}

fn look_at(pass: Pass<'_>) -> Option<Finding> {
    let name = passes::variables(pass.authority()).find(|name| is_the_clients(pass, name))?;
    let message =
        format!("\"${name}\" is what the client sent, and decides where its request goes");
    let example =
        Example::into(pass.scope).choosing(name).shows("is sent to the address that it names");
    Some(Finding { message, span: pass.word.span, example })
}

const SENT: &[&str] =
    &["host", "request_uri", "uri", "document_uri", "args", "query_string", "is_args"];
const SENT_FAMILIES: &[&str] = &["arg_", "http_", "cookie_"];

fn is_the_clients(pass: Pass<'_>, name: &str) -> bool {
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    // What stands behind a fixed host is a path.
    let is_first =
        pass.authority().trim_start_matches("${").trim_start_matches('$').starts_with(name);
    if SENT.contains(&name) {
        return is_first;
    }
    SENT_FAMILIES.iter().any(|family| name.starts_with(family)) || is_number && is_wide(pass)
}

/// The group of the pattern around may be any host's name.
fn is_wide(pass: Pass<'_>) -> bool {
    pass.scope.outwards().any(|scope| match Header::of(scope) {
        Some(Header::Pattern { text, .. }) => {
            let text = String::from_utf8_lossy(text);
            ["(.*", "(.+", "([^", r"(\S", r"([\w"].iter().any(|wide| text.contains(wide))
        }
        _ => false,
    })
}

impl Example {
    /// With an address of the client's choice where `name` looks for one.
    fn choosing(mut self, name: &str) -> Example {
        const CHOSEN: &str = "127.0.0.1:22";
        if let Some(argument) = name.strip_prefix("arg_") {
            self.uri = format!("{}?{argument}={CHOSEN}", self.uri);
        } else if let Some(field) = name.strip_prefix("http_").filter(|field| *field != "host") {
            self.fields.push(format!("{}: {CHOSEN}", field.replace('_', "-")));
        } else if let Some(cookie) = name.strip_prefix("cookie_") {
            self.fields.push(format!("Cookie: {cookie}={CHOSEN}"));
        } else if name.ends_with("host") {
            self.host = CHOSEN.to_owned();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn the_configuration_chooses() {
        let server = |inside: &str| {
            format!(
                "resolver 127.0.0.1; map $arg_to $to {{ default 127.0.0.1:1; b 127.0.0.1:2; }}
                     server {{ listen 8080; root /srv; {inside} }}"
            )
        };
        let good = server(
            r"location / { proxy_pass http://$to; }
              location /a/ { proxy_pass http://127.0.0.1:1$request_uri; }
              location ~ ^/b(\d)/ { proxy_pass http://10.0.0.$1; }",
        );
        for bad in [
            "location / { proxy_pass http://$arg_to; }",
            "location / { proxy_pass http://$http_x_backend:80; }",
            "location / { proxy_pass http://$host; }",
            "location ~ ^/to/([^/]+) { proxy_pass http://$1; }",
        ] {
            check("address-from-request", &server(bad), &good);
        }
    }
}
