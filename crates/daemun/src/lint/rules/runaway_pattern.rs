//! Patterns that a request can keep busy.

use daemun_pattern::may_run_away;

use crate::lint::patterns;
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "runaway-pattern",
    explanation: "look-around and back references need backtracking, and a repetition within a repetition makes the \
                  ways to try double with each letter, up to a limit that ends in 500",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let written = patterns::all(site.outline);
    let runaway = written.iter().filter(|one| may_run_away(one.text, one.caseless));
    runaway
        .map(|one| Finding {
            message: format!("\"{}\" can run away", String::from_utf8_lossy(one.text)),
            span: one.word.span,
            example: Example::of(one.scope, format!("/{}!", "a".repeat(48))).shows(
                "or a longer one that almost matches is answered with 500, after a long time",
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn repetitions_are_not_nested_where_that_costs() {
        let server = |pattern: &str| {
            format!("server {{ listen 8080; root /srv; location ~ \"{pattern}\" {{ }} }}")
        };
        let bad = server("^/(a+)+(?!b)$");
        check("runaway-pattern", &bad, &server("^/a+(?!b)$"));
        // Without look-around it is matched in linear time.
        check("runaway-pattern", &bad, &server("^/(a+)+$"));
    }
}
