//! `# daemun-lint: allow CODE reason`: findings that the user knows of.

use std::path::Path;

use daemun_conf::{Files, Span};

use super::{Finding, Rule, rules};

const MARK: &str = "daemun-lint: allow";

/// Takes out what comments allow. A comment counts for its own line and the next one, and must give a reason.
pub(super) fn apply(files: &Files, findings: &mut Vec<(&'static Rule, Finding)>) {
    findings.retain(|(rule, finding)| !is_allowed(files, finding.span, rule.code));
}

fn is_allowed(files: &Files, span: Span, code: &str) -> bool {
    let file = files.file(span.file);
    let text = String::from_utf8_lossy(file.text());
    let line = files.position(span).line as usize - 1;
    let lines = text.lines().skip(line.saturating_sub(1)).take(if line == 0 { 1 } else { 2 });
    lines.filter_map(Allowance::of).any(|allowance| allowance.code == code && allowance.is_reasoned)
}

struct Allowance<'t> {
    code: &'t str,
    is_reasoned: bool,
}

impl<'t> Allowance<'t> {
    fn of(line: &'t str) -> Option<Allowance<'t>> {
        let (_, comment) = line.split_once('#')?;
        let mut words = comment.trim_start().strip_prefix(MARK)?.split_whitespace();
        let code = words.next().unwrap_or_default();
        Some(Allowance { code, is_reasoned: words.next().is_some() })
    }
}

/// Comments that allow nothing: without a reason, or with a code that no rule has.
pub(super) fn complaints(files: &Files) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter() {
        let text = String::from_utf8_lossy(file.text());
        for (index, line) in text.lines().enumerate() {
            let Some(allowance) = Allowance::of(line) else { continue };
            let place = place(file.name(), index);
            let code = allowance.code;
            if !rules::ALL.iter().any(|rule| rule.code == code) {
                complaints.push(format!("no rule is called \"{code}\" in {place}"));
            } else if !allowance.is_reasoned {
                complaints
                    .push(format!("\"allow {code}\" gives no reason and is ignored in {place}"));
            }
        }
    }
    complaints
}

fn place(file: &Path, index: usize) -> String {
    format!("{}:{}", file.display(), index + 1)
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::codes;

    #[test]
    fn a_reason_is_required() {
        let page = |comment: &str| {
            format!("server {{ listen 8080;\n location = /status {{\n{comment}\nstub_status; }} }}")
        };
        assert_eq!(codes(&page("")), ["status-exposed"]);
        assert_eq!(codes(&page("# daemun-lint: allow status-exposed")), ["status-exposed"]);
        assert_eq!(codes(&page("# daemun-lint: allow other a reason")), ["status-exposed"]);
        assert!(codes(&page("# daemun-lint: allow status-exposed behind a wall")).is_empty());
    }

    #[test]
    fn a_comment_may_stand_on_the_same_line() {
        let text = "server { listen 8080; location = /status {
            stub_status; # daemun-lint: allow status-exposed behind a wall
        } }";
        assert!(codes(text).is_empty());
    }
}
