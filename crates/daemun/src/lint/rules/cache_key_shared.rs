//! Virtual hosts that share the entries of a cache, since the usual key has not the host in it.

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "cache-key-shared",
    explanation: "without proxy_cache_key the key is scheme, the name in proxy_pass, and URI: hosts \
                  that the other server tells apart by Host get each other's pages; put $host into it",
    find,
};

const HOSTS: &[&str] = &["$host", "$http_host"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.scopes().filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    let pass = scope.value("proxy_pass").filter(|_| scope.has("proxy_pass"))?;
    let cache = scope.value("proxy_cache").filter(|cache| **cache != "off")?;
    if scope.value("proxy_cache_key").is_some() || !has_several_hosts(scope) {
        return None;
    }
    let passes_host = scope.in_force(&["proxy_set_header"]).into_iter().any(|set| {
        set.args[0].text.eq_ignore_ascii_case(b"host")
            && set.args.get(1).is_some_and(|value| HOSTS.iter().any(|host| *value == **host))
    });
    if !passes_host || HOSTS.iter().any(|host| pass.to_str_lossy().contains(host)) {
        return None;
    }
    let message = "the cache's key has no host, but the other server is told one".to_owned();
    let example = Example::into(scope).shows("may get the page of another host");
    Some(Finding { message, span: cache.span, example })
}

/// Whether requests for more than one name come here.
fn has_several_hosts(scope: Scope<'_>) -> bool {
    let Some(server) = scope.server() else { return false };
    let names: Vec<_> = server.all("server_name").flat_map(|names| &*names.args).collect();
    // Without a name it is the server of all that no other has.
    let [name] = &*names else { return true };
    **name == "_" || name.text.contains(&b'*') || matches!(name.text.first(), Some(b'.' | b'~'))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn hosts_have_entries_of_their_own() {
        let server = |names: &str, inside: &str| {
            format!(
                "proxy_cache_path /tmp/daemun-lint-cache keys_zone=z:1m;
                 server {{ listen 8080; root /srv; server_name {names};
                     location / {{ proxy_pass http://127.0.0.1:1; proxy_cache z; {inside} }} }}"
            )
        };
        let told = "proxy_set_header Host $host;";
        let bad = server("a.example b.example", told);
        check("cache-key-shared", &bad, &server("a.example", told));
        check("cache-key-shared", &bad, &server("a.example b.example", ""));
        let keyed = "proxy_set_header Host $host; proxy_cache_key $scheme$host$request_uri;";
        check("cache-key-shared", &bad, &server("a.example b.example", keyed));
        check("cache-key-shared", &server("*.example", told), &server("a.example", told));
    }
}
