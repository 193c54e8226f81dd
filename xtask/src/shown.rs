//! Which test shows a directive: found by reading the configurations in the tests' sources.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root;

/// A text in a test's source that may be a configuration.
pub struct Shown {
    /// `tests/e2e/logs.rs: NAME`.
    pub test: String,
    text: String,
}

impl Shown {
    /// Whether the text has the directive: a word at the place of a name, with an argument, a block or an end.
    pub fn has(&self, directive: &str) -> bool {
        self.text.match_indices(directive).any(|(place, _)| {
            let before = self.text[..place].trim_end();
            let spaced = before.len() < place || before.ends_with(['{', ';', '}']);
            let after = self.text[place + directive.len()..].chars().next();
            (before.is_empty() || spaced && before.ends_with(['{', ';', '}']))
                && after.is_some_and(|next| next.is_whitespace() || next == ';' || next == '{')
        })
    }
}

/// The texts of all tests, those of the end-to-end tests first.
pub fn texts() -> Vec<Shown> {
    let mut files = sources(&root().join("tests"));
    files.extend(sources(&root().join("crates")));
    files.iter().flat_map(|path| of_file(path)).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A text belongs to the test that it stands in; one that stands outside belongs to the tests below it.
fn of_file(path: &Path) -> Vec<Shown> {
    let source = fs::read_to_string(path).unwrap_or_default();
    let name = path.strip_prefix(root()).unwrap_or(path).display();
    let Some(first) = source.find("#[test]") else {
        return Vec::new();
    };
    // In a file of code the tests stand last, and what stands above them is no test's.
    let start = source.find("#[cfg(test)]").unwrap_or(0);
    let tests: Vec<(usize, &str)> = source
        .match_indices("#[test]")
        .map(|(place, _)| (place, function_after(&source[place..])))
        .collect();
    let test_of = |place: usize| {
        let holder = tests.iter().rev().find(|(test, _)| *test <= place);
        holder.map_or_else(|| function_after(&source[first..]), |(_, name)| name)
    };
    literals(&source)
        .into_iter()
        .filter(|(place, text)| *place >= start && text.contains([';', '{']))
        .map(|(place, text)| Shown { test: format!("{name}: {}", test_of(place)), text })
        .collect()
}

fn function_after(source: &str) -> &str {
    let name = source.split_once("fn ").map_or("", |(_, rest)| rest);
    name.split(['(', '<']).next().unwrap_or_default()
}

/// Characters that begin no string.
const QUOTES: [&str; 2] = ["'\"'", "'\\\"'"];

/// The string literals of a source with their places, escapes as they stand.
fn literals(source: &str) -> Vec<(usize, String)> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(quote) = QUOTES.iter().find(|quote| rest.starts_with(**quote)) {
            quote.len()
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let end = raw.find("\"#").unwrap_or(raw.len());
            found.push((at, raw[..end].to_owned()));
            end + 5
        } else if rest.starts_with('"') {
            let end = closing_quote(rest);
            let text = rest[1..end].replace("\\n", "\n").replace("\\\n", "\n");
            found.push((at, text));
            end + 1
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += length;
    }
    found
}

/// Of a text that begins with a quote.
fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return place,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_stands_where_a_name_can() {
        let shown = Shown {
            test: String::new(),
            text: "http { root /a; location /index { internal; } }".to_owned(),
        };
        for name in ["http", "root", "location", "internal"] {
            assert!(shown.has(name), "{name}");
        }
        for name in ["index", "intern", "oot", "a"] {
            assert!(!shown.has(name), "{name}");
        }
    }

    #[test]
    fn literals_are_found_between_comments_and_characters() {
        let source = "// \"no\"\nlet a = '\"'; let b = \"x\\\"y;\"; r#\"z \"q\" {\"#";
        let found = literals(source).into_iter().map(|(_, text)| text);
        assert_eq!(found.collect::<Vec<_>>(), ["x\\\"y;", "z \"q\" {"]);
    }
}
