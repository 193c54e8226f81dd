//! Findings as text, JSON and SARIF.

use std::fmt::Write;

use daemun_conf::{Diagnostic, Diagnostics, Files, Severity, Span};
use serde_json::{Value, json};

use super::{Example, Finding, Rule, Verdict, allowances, rules};

/// What `--lint` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines.
    Sarif,
}

pub(super) fn write(verdict: &Verdict<'_>, format: Format, program: &str) -> String {
    match format {
        Format::Text => text(verdict, program),
        Format::Json => format!("{:#}\n", json(verdict)),
        Format::Sarif => format!("{:#}\n", sarif(verdict)),
    }
}

/// Errors as findings; on a terminal they stand on the standard error.
pub(super) fn errors(
    diagnostics: &Diagnostics,
    files: &Files,
    format: Format,
    configuration: &str,
) -> String {
    let is_error = |one: &&Diagnostic| one.severity == Severity::Emerg;
    let errors = diagnostics.iter().filter(is_error);
    let place = |one: &Diagnostic| match one.span {
        Some(span) => Place::of(span, files),
        None => Place { file: configuration.to_owned(), line: 1, column: 1, end_column: 1 },
    };
    match format {
        Format::Text => String::new(),
        Format::Json => {
            let findings = errors.map(|one| {
                let place = place(one);
                json!({
                    "code": ERROR,
                    "message": one.message,
                    "explanation": one.help,
                    "file": place.file,
                    "line": place.line,
                    "column": place.column,
                    "end_column": place.end_column,
                    "example": null,
                })
            });
            let findings: Vec<_> = findings.collect();
            format!("{:#}\n", json!({ "findings": findings, "complaints": [] }))
        }
        Format::Sarif => {
            let results = errors.map(|one| {
                let text = match &one.help {
                    Some(help) => format!("{} ({help})", one.message),
                    None => one.message.clone(),
                };
                located(ERROR, "error", &text, &place(one))
            });
            let rule = json!({
                "id": ERROR,
                "shortDescription": { "text": "the server would not start with this configuration" },
            });
            format!("{:#}\n", document(vec![rule], results.collect()))
        }
    }
}

/// The code of what is no finding of a rule's.
const ERROR: &str = "error";

fn text(verdict: &Verdict<'_>, program: &str) -> String {
    let mut out = String::new();
    for (rule, finding) in &verdict.findings {
        let diagnostic = Diagnostic {
            severity: Severity::Warn,
            message: format!("{} [{}]", finding.message, rule.code),
            span: Some(finding.span),
            help: None,
        };
        out.push_str(&diagnostic.render(program, verdict.files));
        // A string takes whatever is written to it.
        let _ = writeln!(out, "   why: {}", wrapped(rule.explanation, "        "));
        let _ = writeln!(out, "   example: {}", request(&finding.example));
        let _ = writeln!(out, "            {}\n", finding.example.effect);
    }
    for complaint in allowances::complaints(verdict.files) {
        let _ = writeln!(out, "{program}: [warn] {complaint}");
    }
    let _ = match verdict.count() {
        0 => writeln!(out, "no findings"),
        1 => writeln!(out, "1 finding"),
        count => writeln!(out, "{count} findings"),
    };
    out
}

/// Lines of a terminal's width; those after the first begin with `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    const WIDTH: usize = 92;
    let mut out = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width + word.len() > WIDTH {
            out.push('\n');
            out.push_str(indent);
            width = 0;
        } else if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        width += word.len() + 1;
    }
    out
}

/// As `--explain` takes it.
fn request(example: &Example) -> String {
    let mut text = format!("'GET {}://{}{}'", example.scheme, example.host, example.uri);
    for field in &example.fields {
        let _ = write!(text, " -H '{field}'");
    }
    text
}

fn json(verdict: &Verdict<'_>) -> Value {
    let findings = verdict.findings.iter().map(|(rule, finding)| {
        let place = Place::of(finding.span, verdict.files);
        json!({
            "code": rule.code,
            "message": finding.message,
            "explanation": rule.explanation,
            "file": place.file,
            "line": place.line,
            "column": place.column,
            "end_column": place.end_column,
            "example": {
                "method": "GET",
                "scheme": finding.example.scheme,
                "host": finding.example.host,
                "uri": finding.example.uri,
                "headers": finding.example.fields,
                "effect": finding.example.effect,
            },
        })
    });
    json!({
        "findings": findings.collect::<Vec<_>>(),
        "complaints": allowances::complaints(verdict.files),
    })
}

fn sarif(verdict: &Verdict<'_>) -> Value {
    let rules: Vec<_> = rules::ALL.iter().map(|rule| described(rule)).collect();
    let results: Vec<_> = verdict
        .findings
        .iter()
        .map(|(rule, finding)| result(rule, finding, verdict.files))
        .collect();
    document(rules, results)
}

fn document(rules: Vec<Value>, results: Vec<Value>) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "daemun",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    })
}

fn described(rule: &Rule) -> Value {
    json!({ "id": rule.code, "shortDescription": { "text": rule.explanation } })
}

fn result(rule: &Rule, finding: &Finding, files: &Files) -> Value {
    let place = Place::of(finding.span, files);
    let Finding { message, example, .. } = finding;
    let text = format!("{message}. {}: {}", request(example), example.effect);
    located(rule.code, "warning", &text, &place)
}

fn located(code: &str, level: &str, text: &str, place: &Place) -> Value {
    json!({
        "ruleId": code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": place.file },
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endColumn": place.end_column,
            },
        } }],
    })
}

/// A span for programs.
struct Place {
    file: String,
    line: u32,
    column: u32,
    /// One past the last character.
    end_column: u32,
}

impl Place {
    fn of(span: Span, files: &Files) -> Place {
        let position = files.position(span);
        let spelled = &position.file.text()[span.start as usize..span.end as usize];
        let width =
            String::from_utf8_lossy(spelled).lines().next().map_or(0, |line| line.chars().count());
        Place {
            file: position.file.name().display().to_string(),
            line: position.line,
            column: position.column,
            end_column: position.column + width as u32,
        }
    }
}
