//! `proxy_set_header`, `fastcgi_param` and their like in a block whose outer block has some too.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "proxy-header-dropped",
    explanation: "a block that sets one header field or parameter for the other server takes none from the block around it",
    find,
};

const SETTERS: &[&str] =
    &["proxy_set_header", "grpc_set_header", "fastcgi_param", "scgi_param", "uwsgi_param"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let scopes = site.outline.scopes();
    scopes.flat_map(|scope| SETTERS.iter().filter_map(move |name| look_at(scope, name))).collect()
}

fn look_at(scope: Scope<'_>, setter: &str) -> Option<Finding> {
    let first = scope.all(setter).next()?;
    let outer = scope.outer()?.in_force(&[setter]);
    let is_repeated = |outer: &Directive| scope.all(setter).any(|own| name(own) == name(outer));
    let mut lost: Vec<String> =
        outer.into_iter().filter(|outer| !is_repeated(outer)).map(name).collect();
    lost.dedup();
    if lost.is_empty() {
        return None;
    }
    let lost = lost.join(", ");
    let message = format!("this {setter} drops what the outer block sets: {lost}");
    let example = Example::into(scope).shows(format!("is passed on without {lost}"));
    Some(Finding { message, span: first.span, example })
}

fn name(setting: &Directive) -> String {
    setting.args.first().map(|word| word.to_str_lossy().to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn what_the_outer_block_sets_is_repeated() {
        let server = |inside: &str| {
            format!(
                "server {{ listen 8080; root /srv; proxy_set_header Host $host;
                     proxy_set_header X-Real-IP $remote_addr;
                     location /x/ {{ proxy_pass http://127.0.0.1:1; {inside} }} }}"
            )
        };
        let bad = server("proxy_set_header X-Site a;");
        check("proxy-header-dropped", &bad, &server(""));
        let repeated =
            "proxy_set_header host a; proxy_set_header X-Real-IP b; proxy_set_header X-Site a;";
        check("proxy-header-dropped", &bad, &server(repeated));
        let parameters = |inside: &str| {
            format!(
                "server {{ listen 8080; root /srv; fastcgi_param SCRIPT_FILENAME /srv/a;
                     location /x/ {{ fastcgi_pass 127.0.0.1:1; {inside} }} }}"
            )
        };
        check("proxy-header-dropped", &parameters("fastcgi_param A a;"), &parameters(""));
    }
}
