//! `error_log off`.

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "error-log-off",
    explanation: "error_log cannot be turned off: \"off\" is the name of a file, which grows below the prefix",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        let words = scope.all("error_log").filter_map(|directive| directive.args.first());
        for word in words.filter(|word| **word == "off") {
            let message = "errors go to a file with the name \"off\"".to_owned();
            let example =
                Example::of(scope, "/no-such-file").shows("writes a line to the file \"off\"");
            findings.push(Finding { message, span: word.span, example });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn a_log_has_a_name() {
        let server = |log: &str| format!("server {{ listen 8080; root /srv; error_log {log}; }}");
        check("error-log-off", &server("off"), &server("/dev/null crit"));
    }
}
