//! `return` where access is restricted.

use daemun_conf::Directive;

use crate::lint::guards::is_guarded;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "return-before-access",
    explanation: "return answers before allow, deny and passwords are looked at",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let blocks =
        site.outline.scopes().filter(|scope| matches!(scope.name(), "server" | "location"));
    blocks.filter(|scope| is_guarded(*scope)).filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    let answer = scope.all("return").find(|one| gives_something(one))?;
    let example = Example::into(scope).shows("is answered to clients that the access rules refuse");
    let message = "this return answers before access is checked".to_owned();
    Some(Finding { message, span: answer.span, example })
}

/// An error gives nothing away.
fn gives_something(answer: &Directive) -> bool {
    let status = answer.args.first().and_then(|word| word.as_str().ok()?.parse::<u16>().ok());
    status.is_none_or(|status| status < 400)
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn what_is_guarded_is_not_returned() {
        let server = |inside: &str| {
            format!("server {{ listen 8080; root /srv; location /a/ {{ {inside} }} }}")
        };
        let bad = server("deny all; return 200 secret;");
        check("return-before-access", &bad, &server("return 200 public;"));
        check("return-before-access", &bad, &server("deny all; return 404;"));
        let password = server("auth_basic a; auth_basic_user_file /u; return 302 /b;");
        check("return-before-access", &password, &server("allow all; return 200 public;"));
    }
}
