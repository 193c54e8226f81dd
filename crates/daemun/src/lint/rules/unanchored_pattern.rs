//! Patterns for `Origin` and `Referer` that other sites' addresses match too.

use daemun_pattern::Pattern;

use crate::lint::patterns::{self, Written};
use crate::lint::sample;
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "unanchored-pattern",
    explanation: "a pattern matches anywhere unless ^ and $ hold it: an address that merely contains yours passes",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    patterns::all(site.outline).iter().filter_map(look_at).collect()
}

fn look_at(written: &Written<'_>) -> Option<Finding> {
    let text = String::from_utf8_lossy(written.text);
    // `.` and the like ask whether there is anything at all.
    if !text.contains(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    let (field, has_scheme) = match written.subject {
        b"$http_origin" => ("Origin", true),
        b"$http_referer" => ("Referer", true),
        b"" => ("Referer", false),
        _ => return None,
    };
    if is_held(&text, field == "Origin", has_scheme) {
        return None;
    }
    let address = foreign_address(written, has_scheme)?;
    let example = Example::into(written.scope)
        .with(format!("{field}: {address}"))
        .shows("passes for one of your own addresses");
    let message = format!("\"{text}\" also matches addresses of other sites");
    Some(Finding { message, span: written.word.span, example })
}

/// Whether the host is bounded on both sides.
fn is_held(text: &str, is_origin: bool, has_scheme: bool) -> bool {
    let Some(rest) = text.strip_prefix('^') else {
        return false;
    };
    let host = match rest.split_once("//") {
        Some((_, host)) if has_scheme => host,
        _ => rest,
    };
    text.ends_with('$') || (!is_origin && host.contains('/'))
}

/// An address of somebody else that the pattern matches.
fn foreign_address(written: &Written<'_>, has_scheme: bool) -> Option<String> {
    let pattern = Pattern::compile(written.text, written.caseless).ok()?;
    let own = sample::guess(&String::from_utf8_lossy(written.text));
    let host = own.trim_start_matches("https://").trim_start_matches("http://").trim_matches('.');
    let candidates = [
        format!("https://{host}.attacker.test"),
        format!("http://{host}.attacker.test"),
        format!("https://attacker-{host}"),
        format!("https://attacker.test/{host}"),
        format!("https://attacker.test/{own}"),
        format!("https://www.{host}.attacker.test"),
    ];
    candidates.into_iter().find(|address| {
        let subject = if has_scheme { address } else { &address["https://".len()..] };
        pattern.is_match(subject.as_bytes()) == Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn patterns_for_addresses_are_anchored() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            r"if ($http_origin ~ ^https://(www\.)?example\.com$) { return 204; }
              if ($http_referer !~ ^https://example\.com/) { return 403; }
              if ($http_user_agent ~ bot) { return 403; }
              if ($http_origin ~ .) { return 204; }",
        );
        for bad in [
            r"if ($http_origin ~ example\.com) { return 204; }",
            r"if ($http_origin ~* ^https://example\.com) { return 204; }",
            r"valid_referers server_names ~\.example\.; if ($invalid_referer) { return 403; }",
        ] {
            check("unanchored-pattern", &server(bad), &good);
        }
        let map = |key: &str| {
            format!(
                "map $http_origin $cors {{ {key} $http_origin; }} server {{ listen 8080; root /srv; }}"
            )
        };
        check("unanchored-pattern", &map(r"~example\.com"), &map(r"~^https://example\.com$"));
    }
}
