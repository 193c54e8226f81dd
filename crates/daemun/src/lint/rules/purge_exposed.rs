//! Purging that everybody may do.

use daemun_conf::Directive;

use crate::lint::guards::is_guarded;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "purge-exposed",
    explanation: "whoever may purge can empty the cache again and again, and have all clients served \
                  by the server behind",
    find,
};

const PURGES: &[&str] =
    &["proxy_cache_purge", "fastcgi_cache_purge", "scgi_cache_purge", "uwsgi_cache_purge"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let scopes = site.outline.scopes();
    scopes.flat_map(|scope| PURGES.iter().filter_map(move |name| look_at(scope, name))).collect()
}

fn look_at(scope: Scope<'_>, name: &str) -> Option<Finding> {
    // Values may hold for some clients alone; a method with addresses does.
    let purge = scope.all(name).find(|purge| is_open(purge))?;
    if is_guarded(scope) || scope.has("internal") {
        return None;
    }
    let message = format!("\"{name}\" without allow and deny, a password, or \"from\"");
    let example = Example::into(scope).shows("can be purged by anybody");
    Some(Finding { message, span: purge.span, example })
}

fn is_open(purge: &Directive) -> bool {
    let first = &purge.args[0];
    let has_value = first.text.contains(&b'$');
    let from = purge.args.iter().position(|word| *word == "from");
    let is_for_some =
        from.is_some_and(|from| purge.args[from + 1..].iter().all(|word| *word != "all"));
    *first != "off" && !has_value && !is_for_some
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn purging_is_for_some() {
        let server = |inside: &str| {
            format!(
                "proxy_cache_path /tmp/daemun-lint-cache keys_zone=z:1m;
                 server {{ listen 8080; root /srv; location / {{
                     proxy_pass http://127.0.0.1:1; proxy_cache z; {inside} }} }}"
            )
        };
        let bad = server("proxy_cache_purge PURGE;");
        check("purge-exposed", &bad, &server("proxy_cache_purge PURGE from 127.0.0.1;"));
        check("purge-exposed", &bad, &server("proxy_cache_purge $arg_p;"));
        let guarded = "proxy_cache_purge PURGE; allow 127.0.0.1; deny all;";
        check("purge-exposed", &bad, &server(guarded));
        check("purge-exposed", &server("proxy_cache_purge PURGE from all;"), &server(""));
    }
}
