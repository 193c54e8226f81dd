//! Locations that no request comes to.

use daemun_conf::Directive;

use crate::lint::header::Header;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "location-unreachable",
    explanation: "a server's own return answers before locations are looked for, and a named location is reached by \
                  nothing but its name",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let behind_return = site.outline.blocks("server").filter_map(behind_return);
    behind_return.chain(site.outline.blocks("location").filter_map(without_mention)).collect()
}

/// The first location of a server that always returns.
fn behind_return(server: Scope<'_>) -> Option<Finding> {
    let steps = server.directives().iter();
    let mut before = steps.take_while(|directive| directive.name != "return");
    if !server.has("return") || before.any(may_pass) {
        return None;
    }
    let is_unnamed =
        |scope: &Scope<'_>| !matches!(Header::of(*scope), None | Some(Header::Named(_)));
    let location = server.inner().find(is_unnamed)?;
    let word = location.arguments().last()?;
    let message = "the server's return answers before this location is looked for".to_owned();
    let example = Example::into(location).shows("is answered by the server's return");
    Some(Finding { message, span: word.span, example })
}

/// Whether a request may get past the steps that follow.
fn may_pass(step: &Directive) -> bool {
    let ends = |step: &Directive| step.name == "rewrite" || step.name == "break";
    ends(step)
        || step
            .block
            .as_ref()
            .is_some_and(|block| step.name == "if" && block.directives.iter().any(ends))
}

/// A named location that nothing in its server, or around it, names.
fn without_mention(location: Scope<'_>) -> Option<Finding> {
    let Header::Named(name) = Header::of(location)? else {
        return None;
    };
    let server = location.server()?;
    let scopes = server.with_inner().chain(server.outwards().skip(1));
    let mut directives = scopes.flat_map(Scope::directives).filter(|one| one.name != "location");
    if directives.any(|directive| may_lead(directive, name)) {
        return None;
    }
    let word = location.arguments().last()?;
    let message = format!("nothing leads to the named location \"{word}\"");
    let example = Example::of(location, "/no-such-file")
        .shows("is not answered by it, nor is any other request");
    Some(Finding { message, span: word.span, example })
}

/// Whether a directive names the location, or computes a name.
fn may_lead(directive: &Directive, name: &[u8]) -> bool {
    let is_name = |text: &[u8]| text == name || text.starts_with(b"@$");
    let is_computed = directive.name == "try_files"
        && directive.args.last().is_some_and(|last| last.text.starts_with(b"$"));
    is_computed || directive.args.iter().any(|word| is_name(&word.text))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn something_leads_everywhere() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            "if ($arg_x) { return 204; }
             error_page 404 @missing; location @missing { return 404; }
             location / { try_files $uri @app; } location @app { return 200 app; }",
        );
        for bad in ["return 404; location /a/ { }", "location @nowhere { return 200 x; }"] {
            check("location-unreachable", &server(bad), &good);
        }
        let rewritten = server("rewrite ^/a/ /b/ last; return 404; location /b/ { }");
        check("location-unreachable", &server("return 404; location /a/ { }"), &rewritten);
    }
}
