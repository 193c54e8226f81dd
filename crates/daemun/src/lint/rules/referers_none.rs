//! `valid_referers none`.

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "referers-none",
    explanation: "\"none\" lets requests without a Referer in: a page that sends none takes whatever it likes",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        let words = scope.all("valid_referers").flat_map(|directive| &directive.args);
        for word in words.filter(|word| **word == "none") {
            let message = "requests without a Referer count as valid".to_owned();
            let example = Example::into(scope).shows("has no Referer and passes");
            findings.push(Finding { message, span: word.span, example });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn a_referer_is_wanted() {
        let server = |referers: &str| {
            format!(
                "server {{ listen 8080; root /srv; valid_referers {referers};
                     if ($invalid_referer) {{ return 403; }} }}"
            )
        };
        check("referers-none", &server("none *.example.com"), &server("*.example.com"));
    }
}
