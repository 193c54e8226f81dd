//! A body that is not passed on, and announced all the same.

use crate::lint::passes::{self, Pass};
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "body-announced",
    explanation: "nginx passes the client's Content-Length on although no body follows: the other server waits for one, or \
                  takes the next request for it; \"proxy_set_header Content-Length \\\"\\\";\" belongs to \
                  \"proxy_pass_request_body off;\" and to where auth_request asks (daemun announces what follows)",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let asked: Vec<&[u8]> = site
        .outline
        .scopes()
        .flat_map(|scope| scope.all("auth_request"))
        .filter_map(|directive| directive.args.first().map(|word| &*word.text))
        .filter(|uri| *uri != b"off")
        .collect();
    passes::all(site.outline).filter_map(|pass| look_at(pass, &asked)).collect()
}

fn look_at(pass: Pass<'_>, asked: &[&[u8]]) -> Option<Finding> {
    if pass.directive.name != "proxy_pass" {
        return None;
    }
    let is_off = pass.scope.value("proxy_pass_request_body").is_some_and(|word| *word == "off");
    let is_asked = pass.scope.name() == "location"
        && pass.scope.arguments().last().is_some_and(|name| asked.contains(&&*name.text));
    let what = match (is_off, is_asked) {
        (true, _) => "requests' bodies are not passed on, and their Content-Length is",
        (false, true) => "auth_request asks here without a body, and with its Content-Length",
        (false, false) => return None,
    };
    let fields = pass.scope.in_force(&["proxy_set_header"]);
    let is_announced = !fields.iter().any(|field| {
        matches!(&*field.args, [name, value]
            if name.text.eq_ignore_ascii_case(b"content-length") && value.text.is_empty())
    });
    let example = Example::into(pass.scope)
        .with("Content-Length: 5")
        .shows("reaches the other server with the length of a body that does not follow");
    is_announced.then(|| Finding { message: what.to_owned(), span: pass.directive.span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn what_does_not_follow_is_not_announced() {
        let server = |asks: &str, inside: &str| {
            format!(
                "server {{ listen 8080; root /srv; {asks}
                     location = /auth {{ internal; {inside} proxy_pass http://127.0.0.1:1; }} }}"
            )
        };
        let silent = "proxy_set_header Content-Length \"\";";
        let asks = "auth_request /auth;";
        check("body-announced", &server(asks, ""), &server(asks, silent));
        let off = "proxy_pass_request_body off;";
        check("body-announced", &server("", off), &server("", &format!("{off} {silent}")));
        check("body-announced", &server(asks, off), &server("", ""));
    }
}
