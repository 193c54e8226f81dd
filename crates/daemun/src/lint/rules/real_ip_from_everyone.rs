//! `set_real_ip_from` every address.

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "real-ip-from-everyone",
    explanation: "whoever may name the client's address may name any: access rules, limits and logs believe it",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        for word in scope.all("set_real_ip_from").filter_map(|one| one.args.first()) {
            if !matches!(&*word.text, b"0.0.0.0/0" | b"::/0") {
                continue;
            }
            let field =
                scope.value("real_ip_header").map(|field| field.to_str_lossy().into_owned());
            let field = field.unwrap_or_else(|| "X-Real-IP".to_owned());
            let example = Example::into(scope)
                .with(format!("{field}: 192.0.2.1"))
                .shows("is taken for a request of 192.0.2.1");
            let message = format!("every client is trusted to say where it comes from, in {field}");
            findings.push(Finding { message, span: word.span, example });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn proxies_are_named() {
        let server =
            |from: &str| format!("server {{ listen 8080; root /srv; set_real_ip_from {from}; }}");
        check("real-ip-from-everyone", &server("0.0.0.0/0"), &server("10.0.0.0/8"));
        check("real-ip-from-everyone", &server("::/0"), &server("unix:"));
    }
}
