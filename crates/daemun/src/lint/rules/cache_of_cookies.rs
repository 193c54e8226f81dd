//! A cache that stores responses with `Set-Cookie`, and sends each client the first one's cookie.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "cache-of-cookies",
    explanation: "a response that is stored with its cookie gives that cookie, often a session, to \
                  everybody who asks for the same; hide the field where it is ignored",
    find,
};

const KINDS: &[&str] = &["proxy", "fastcgi", "scgi", "uwsgi"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let scopes = site.outline.scopes();
    scopes.flat_map(|scope| KINDS.iter().filter_map(move |kind| look_at(scope, kind))).collect()
}

fn look_at(scope: Scope<'_>, kind: &str) -> Option<Finding> {
    scope.has(&format!("{kind}_pass")).then_some(())?;
    let cache = scope.value(&format!("{kind}_cache"))?;
    if *cache == "off" {
        return None;
    }
    let names = |directive: &&Directive| {
        directive.args.iter().any(|word| word.text.eq_ignore_ascii_case(b"set-cookie"))
    };
    let ignored = scope.in_force(&[&format!("{kind}_ignore_headers")]).into_iter().find(names)?;
    let hidden = scope.in_force(&[&format!("{kind}_hide_header")]);
    if hidden.iter().any(names) {
        return None;
    }
    let message =
        format!("cookies are stored in the cache: {kind}_hide_header Set-Cookie is missing");
    let example = Example::into(scope).shows("gets the cookie of whoever came first");
    Some(Finding { message, span: ignored.span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn a_cookie_is_one_clients() {
        let server = |inside: &str| {
            format!(
                "proxy_cache_path /tmp/daemun-lint-cache keys_zone=z:1m;
                 server {{ listen 8080; root /srv;
                     location / {{ proxy_pass http://127.0.0.1:1; {inside} }} }}"
            )
        };
        let bad = server("proxy_cache z; proxy_ignore_headers Set-Cookie;");
        let hidden = "proxy_cache z; proxy_ignore_headers Set-Cookie;
            proxy_hide_header Set-Cookie;";
        check("cache-of-cookies", &bad, &server(hidden));
        check("cache-of-cookies", &bad, &server("proxy_ignore_headers Set-Cookie;"));
        check("cache-of-cookies", &bad, &server("proxy_cache z;"));
    }
}
