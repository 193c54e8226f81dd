//! WebSockets through a proxy that does not hand on the wish for them.

use crate::lint::header::Header;
use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "upgrade-headers",
    explanation: "Upgrade and Connection are about one connection, and are not handed on: for WebSockets both have to \
                  be set, \"proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\"",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    passes::all(site.outline).filter_map(look_at).collect()
}

fn look_at(pass: Pass<'_>) -> Option<Finding> {
    if pass.directive.name != "proxy_pass" {
        return None;
    }
    let fields = pass.scope.in_force(&["proxy_set_header"]);
    let sets = |name: &[u8]| {
        fields.iter().any(|field| {
            matches!(&*field.args, [word, value] if word.text.eq_ignore_ascii_case(name) && !value.text.is_empty())
        })
    };
    let message = match (sets(b"Upgrade"), sets(b"Connection")) {
        (true, false) => "Upgrade is handed on, and Connection is not".to_owned(),
        (false, false) if is_for_websockets(pass) => {
            "WebSockets seem to be meant, and Upgrade is not handed on".to_owned()
        }
        _ => return None,
    };
    let example = Example::into(pass.scope)
        .with("Connection: Upgrade")
        .with("Upgrade: websocket")
        .shows("is not answered with 101");
    Some(Finding { message, span: pass.directive.span, example })
}

/// Parts of paths that WebSockets commonly have.
const NAMES: &[&[u8]] =
    &[b"ws", b"wss", b"websocket", b"websockets", b"socket.io", b"sockjs", b"cable"];

fn is_for_websockets(pass: Pass<'_>) -> bool {
    let name = match Header::of(pass.scope) {
        Some(Header::Exact(name) | Header::Prefix { name, .. }) => name,
        _ => return false,
    };
    name.split(|byte| *byte == b'/').any(|part| NAMES.contains(&part))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn both_fields_are_handed_on() {
        let server = |inside: &str| {
            format!(
                "server {{ listen 8080; root /srv;
                     location /socket.io/ {{ {inside} proxy_pass http://127.0.0.1:1; }}
                     location /api/ {{ proxy_pass http://127.0.0.1:1; }} }}"
            )
        };
        let good =
            server("proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;");
        check("upgrade-headers", &server(""), &good);
        check("upgrade-headers", &server("proxy_set_header Upgrade $http_upgrade;"), &good);
    }
}
