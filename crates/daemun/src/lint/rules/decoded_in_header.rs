//! A decoded URI, or a part of one, in a header field or a redirect.

use daemun_conf::{Directive, Word};

use crate::lint::passes;
use crate::lint::patterns::{self, Written};
use crate::lint::sample;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "decoded-in-header",
    explanation: "$uri and captures of it are decoded: with %0D%0A in a request nginx ends the header field and begins \
                  another, and daemun drops the line break; $request_uri is as it came",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let written = patterns::all(site.outline);
    let scopes = site.outline.scopes();
    scopes
        .flat_map(|scope| {
            let written = &written;
            scope.directives().iter().filter_map(move |one| look_at(scope, one, written))
        })
        .collect()
}

fn look_at(scope: Scope<'_>, directive: &Directive, written: &[Written<'_>]) -> Option<Finding> {
    let value = value_of(directive)?;
    let text = value.to_str_lossy();
    let mut names = passes::variables(&text);
    let name = names.find(|name| is_decoded(scope, directive, name, written))?;
    let uri = match pattern_in_force(scope, written).filter(|one| takes_line_breaks(one)) {
        Some(pattern) => sample::guess_with(&String::from_utf8_lossy(pattern.text), INJECTION),
        None => format!("{}{INJECTION}", with_slash(sample::uri_of(scope))),
    };
    let example = Example::of(scope, uri).shows(match directive.name == "proxy_set_header" {
        true => "is passed on with \"X-Injected: yes\": in nginx as a header field of its own",
        false => "is answered with \"X-Injected: yes\": in nginx as a header field of its own",
    });
    let message = format!("\"${name}\" is decoded, and may have a line break in it");
    Some(Finding { message, span: value.span, example })
}

/// A line break and a field, escaped.
const INJECTION: &str = "x%0D%0AX-Injected:%20yes";

fn with_slash(mut uri: String) -> String {
    if !uri.ends_with('/') && !uri.contains('.') {
        uri.push('/');
    }
    uri
}

/// The part of a directive that becomes a header field.
fn value_of(directive: &Directive) -> Option<&Word> {
    let redirects = |code: &Word| matches!(&*code.text, b"301" | b"302" | b"303" | b"307" | b"308");
    match (&*directive.name.text, &*directive.args) {
        (b"return", [url]) => Some(url),
        (b"return", [code, url]) if redirects(code) => Some(url),
        (b"add_header" | b"add_trailer" | b"proxy_set_header", [_, value, ..]) => Some(value),
        (b"rewrite", [_, url, rest @ ..]) => {
            let is_flagged = rest.iter().any(|flag| *flag == "redirect" || *flag == "permanent");
            let is_url = url.text.starts_with(b"http") || url.text.starts_with(b"$scheme");
            (is_flagged || is_url).then_some(url)
        }
        _ => None,
    }
}

fn is_decoded(
    scope: Scope<'_>,
    directive: &Directive,
    name: &str,
    written: &[Written<'_>],
) -> bool {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
    // The URI is the location's name, to the letter.
    let is_exact = scope.outwards().any(|scope| {
        scope.opener().is_some_and(|opener| opener.name == "location" && opener.args[0] == "=")
    });
    match name {
        "uri" | "document_uri" => !is_exact,
        // Captures in a rewrite's redirect are escaped.
        _ if directive.name == "rewrite" => false,
        _ if is_number => pattern_in_force(scope, written).is_some_and(takes_line_breaks),
        _ => written.iter().any(|pattern| {
            let text = String::from_utf8_lossy(pattern.text);
            takes_line_breaks(pattern) && text.contains(&format!("<{name}>"))
        }),
    }
}

/// The pattern of the block, or of the one around it, whose groups `$1` and the like are.
fn pattern_in_force<'w, 'o>(
    scope: Scope<'o>,
    written: &'w [Written<'o>],
) -> Option<&'w Written<'o>> {
    scope.outwards().find_map(|scope| {
        let opener = scope.opener()?;
        written.iter().find(|one| opener.args.iter().any(|word| std::ptr::eq(word, one.word)))
    })
}

/// It looks at a decoded URI, and has a class that a line break belongs to; a dot has not.
fn takes_line_breaks(pattern: &Written<'_>) -> bool {
    let text = String::from_utf8_lossy(pattern.text);
    let is_wide = ["[^", r"\s", r"\W", r"\D", "(?s"].iter().any(|wide| text.contains(wide));
    matches!(pattern.subject, b"$uri" | b"$document_uri") && is_wide
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn redirects_take_the_uri_as_it_came() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            "location /a/ { return 301 https://$host$request_uri; }
             location ~ ^/b/(.*)$ { return 301 /c/$1; }
             location = /here { return 301 https://other$uri; }
             location ~ ^/d/([^/]*)$ { rewrite ^/d/(.*)$ /e/$1 permanent; }",
        );
        for bad in [
            "return 301 https://$host$uri;",
            "location / { add_header X-Path $document_uri; }",
            "location / { proxy_set_header X-Path $uri; proxy_pass http://127.0.0.1:1; }",
            "location / { add_trailer X-Path $uri; }",
            "location ~ ^/b/([^/]*)$ { return 302 /c/$1; }",
            "location ~ ^/b/(?<part>[^/]*)$ { add_header X-Part $part; }",
            "rewrite ^ https://other.example${uri}? permanent;",
        ] {
            check("decoded-in-header", &server(bad), &good);
        }
    }
}
