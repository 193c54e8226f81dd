//! Protocols and cipher suites that nobody should speak.

use daemun_conf::Word;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "dead-protocol",
    explanation: "protocols before TLS 1.2, and suites without forward secrecy or with broken parts, are never spoken: \
                  who names them expects clients that are not served",
    find,
};

const PROTOCOLS: &[&str] = &["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"];

/// Names that bring in what is broken, where no sign stands before them.
const SUITES: &[&str] = &[
    "RC4", "3DES", "DES", "IDEA", "SEED", "MD5", "NULL", "eNULL", "aNULL", "EXP", "EXPORT", "LOW",
    "MEDIUM", "ADH", "AECDH",
];

const DIRECTIVES: &[&str] = &["ssl", "proxy_ssl", "uwsgi_ssl"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        for prefix in DIRECTIVES {
            for directive in scope.all(&format!("{prefix}_protocols")) {
                let named = directive.args.iter().find(|word| is_one_of(word, PROTOCOLS));
                findings.extend(
                    named.map(|word| finding(scope, word, format!("\"{word}\" is never spoken"))),
                );
            }
            for directive in scope.all(&format!("{prefix}_ciphers")) {
                let Some(word) = directive.args.first() else { continue };
                let list = word.to_str_lossy();
                let mut names = list.split([':', ',', ' ']).flat_map(|name| name.split('+'));
                let named = names.find(|name| SUITES.contains(name));
                findings.extend(named.map(|name| {
                    finding(scope, word, format!("\"{name}\" adds suites that are broken"))
                }));
            }
        }
    }
    findings
}

fn is_one_of(word: &Word, names: &[&str]) -> bool {
    word.as_str().is_ok_and(|word| names.contains(&word))
}

fn finding(scope: Scope<'_>, word: &Word, message: String) -> Finding {
    let example = Example::of(scope, "/");
    let example = Example { scheme: "https", ..example }
        .shows("comes to no connection where a client offers nothing better");
    Finding { message, span: word.span, example }
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn what_is_dead_is_not_named() {
        let server = |line: &str| format!("server {{ listen 8080; root /srv; {line} }}");
        let good = server("ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers HIGH:!aNULL:!MD5;");
        for bad in [
            "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;",
            "ssl_protocols TLSv1.2 SSLv3;",
            "ssl_ciphers HIGH:RC4;",
            "ssl_ciphers 'ECDHE+AESGCM:aRSA+3DES:!MD5';",
        ] {
            check("dead-protocol", &server(bad), &good);
        }
        let proxy = |line: &str| {
            format!(
                "server {{ listen 8080; location / {{ {line} proxy_pass https://127.0.0.1; }} }}"
            )
        };
        check("dead-protocol", &proxy("proxy_ssl_protocols TLSv1 TLSv1.2;"), &proxy(""));
    }
}
