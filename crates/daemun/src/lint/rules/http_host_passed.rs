//! `$http_host` for another server's `Host`.

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "http-host-passed",
    explanation: "$http_host is the field as it came, which a request with a whole URL overrules: the server was chosen \
                  by one name, and the other server is told a second one; $host is the name that counted",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.scopes().filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    let word = scope.all("proxy_set_header").find_map(|directive| match &*directive.args {
        [name, value] if name.text.eq_ignore_ascii_case(b"host") && *value == "$http_host" => {
            Some(value)
        }
        _ => None,
    })?;
    let mut example = Example::into(scope)
        .shows("reaches this server by the name in its URL, and the other as \"other.example\"");
    let uri = if example.uri.starts_with('/') { &example.uri } else { "/" };
    example.uri = format!("http://{}{uri}", example.host);
    example.host = "other.example".to_owned();
    let message = "\"$http_host\" may differ from the name that chose this server".to_owned();
    Some(Finding { message, span: word.span, example })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn the_name_that_counted_is_passed_on() {
        let server = |value: &str| {
            format!(
                "server {{ listen 8080; root /srv;
                     location / {{ proxy_set_header Host {value}; proxy_pass http://127.0.0.1:1; }} }}"
            )
        };
        check("http-host-passed", &server("$http_host"), &server("$host"));
        check("http-host-passed", &server("$http_host"), &server("$proxy_host"));
    }
}
