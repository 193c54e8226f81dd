//! `allow` with nothing that keeps the others out.

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "allow-without-deny",
    explanation: "who meets no rule is let in: a list of those who may needs \"deny all\" behind it",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.scopes().filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    let is_rule = |name| name == "allow" || name == "deny";
    let rules = scope.directives().iter();
    let rules: Vec<_> = rules.filter(|one| one.name.as_str().is_ok_and(is_rule)).collect();
    let last = rules.last()?;
    // An exception from a rule that follows, or a list that ends for everyone.
    if last.name != "allow" || last.args.first().is_some_and(|who| *who == "all") {
        return None;
    }
    if scope.value("satisfy").is_some_and(|word| *word == "any") && has_password(scope) {
        return None;
    }
    let example = Example::into(scope).shows("is answered, whoever asks");
    let message = "no \"deny\" follows this \"allow\"".to_owned();
    Some(Finding { message, span: last.span, example })
}

/// With `satisfy any` those who are not allowed are asked for a password.
fn has_password(scope: Scope<'_>) -> bool {
    ["auth_basic", "auth_request"].iter().any(|name| scope.value(name).is_some())
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn a_list_ends_in_deny() {
        let server = |rules: &str| {
            format!("server {{ listen 8080; root /srv; location /a/ {{ {rules} }} }}")
        };
        let bad = server("allow 10.0.0.0/8;");
        check("allow-without-deny", &bad, &server("allow 10.0.0.0/8; deny all;"));
        check("allow-without-deny", &bad, &server("deny 10.0.0.1; allow all;"));
        let any = "satisfy any; auth_basic a; auth_basic_user_file /u; allow 10.0.0.0/8;";
        check("allow-without-deny", &bad, &server(any));
    }
}
