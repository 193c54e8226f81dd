//! Messages about a configuration: nginx's sentence first, then the line it speaks of.

use std::fmt::{self, Write};

use crate::files::{Files, Span};

/// How grave a message is, with nginx's names of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Notice,
    Warn,
    /// The configuration cannot be used.
    Emerg,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Notice => "notice",
            Severity::Warn => "warn",
            Severity::Emerg => "emerg",
        })
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// nginx's wording, without the place.
    pub message: String,
    pub span: Option<Span>,
    pub help: Option<String>,
}

impl Diagnostic {
    /// nginx's sentence: the message and its place, as it stands in a log.
    pub fn sentence(&self, files: &Files) -> String {
        let Some(span) = self.span else {
            return self.message.clone();
        };
        let file = files.file(span.file);
        if file.is_command_line() {
            return format!("{} in command line", self.message);
        }
        format!("{} in {}:{}", self.message, file.name().display(), span.line)
    }

    /// The sentence as `program` says it on a terminal, the source line with carets under the span, and the help.
    pub fn render(&self, program: &str, files: &Files) -> String {
        let sentence = harmless(&self.sentence(files));
        let mut out = format!("{program}: [{}] {sentence}\n", self.severity);
        let gutter = self.span.map_or(0, |span| write_source(&mut out, span, files));
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{:gutter$}help: {}", "", harmless(help));
        }
        out
    }
}

impl Span {
    /// The line where the span starts, and carets under it.
    pub fn source(self, files: &Files) -> String {
        let mut out = String::new();
        write_source(&mut out, self, files);
        out
    }
}

/// Without what would be more than text to a terminal.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in text.chars() {
        match one {
            '\t' => out.push(one),
            one if one.is_control() => {
                let mut bytes = [0; 4];
                for byte in one.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\x{byte:02X}");
                }
            }
            one => out.push(one),
        }
    }
    out
}

/// How much of a line is shown, in columns, and how much of that before the span.
const SHOWN: usize = 120;
const BEFORE: usize = 40;

/// Writes the line where the span starts and carets under the part that the span covers. Returns the gutter's width.
fn write_source(out: &mut String, span: Span, files: &Files) -> usize {
    let (line, from) = files.line_around(span);
    let from = from.min(line.len());
    let to = (from + (span.end - span.start) as usize).min(line.len());
    let number = files.position(span).line.to_string();
    let blank = " ".repeat(number.len());

    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut before, covered, behind) =
        (part(&line[..from]), part(&line[from..to]), part(&line[to..]));
    if width(&before) + width(&covered) > SHOWN {
        before = format!("... {}", last(&before, BEFORE));
    }
    let covered = first(&covered, SHOWN);
    let room = SHOWN.saturating_sub(width(&before) + width(covered));
    let rest = first(&behind, room);
    let more = if rest.len() < behind.len() { " ..." } else { "" };

    let shown: String = [&*before, covered, rest, more].concat().chars().map(shown).collect();
    // A tab stays a tab, so that the carets stand right whatever a terminal's tab stops are.
    let indent: String = before
        .chars()
        .map(|one| if one == '\t' { "\t".to_owned() } else { " ".repeat(columns(one)) })
        .collect();
    let carets = width(covered).max(1);

    let _ = writeln!(out, " {number} | {shown}");
    let _ = writeln!(out, " {blank} | {indent}{}", "^".repeat(carets));
    number.len() + 2
}

/// A character of a source line; controls have a picture.
fn shown(one: char) -> char {
    if one.is_control() && one != '\t' { char::REPLACEMENT_CHARACTER } else { one }
}

fn columns(one: char) -> usize {
    unicode_width::UnicodeWidthChar::width(shown(one)).unwrap_or(1)
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The beginning of a text that takes so many columns.
fn first(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, one)| {
        taken += columns(*one);
        taken > most
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// The end of a text that takes so many columns.
fn last(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let start = text.char_indices().rev().find(|(_, one)| {
        taken += columns(*one);
        taken > most
    });
    &text[start.map_or(0, |(at, one)| at + one.len_utf8())..]
}

/// Messages in the order in which they were found.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// Parts of the text of which enough has been said.
    closed: Vec<Span>,
    /// The last message was about such a part, and is not in the list.
    is_last_dropped: bool,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    pub fn emerg(&mut self, message: impl Into<String>, span: impl Into<Option<Span>>) {
        self.add(Severity::Emerg, message.into(), span.into())
    }

    pub fn warn(&mut self, message: impl Into<String>, span: impl Into<Option<Span>>) {
        self.add(Severity::Warn, message.into(), span.into())
    }

    pub fn notice(&mut self, message: impl Into<String>, span: impl Into<Option<Span>>) {
        self.add(Severity::Notice, message.into(), span.into())
    }

    /// Adds to the last message what the user may do about it.
    pub fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.list.last_mut().filter(|_| !self.is_last_dropped) {
            last.help = Some(help.into());
        }
    }

    /// From here on nothing is added that is about this part of the text. It lies within one file.
    pub fn say_no_more_of(&mut self, part: Span) {
        self.closed.push(part);
    }

    /// The configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|diagnostic| diagnostic.severity == Severity::Emerg)
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// All messages, each as [`Diagnostic::render`] writes it.
    pub fn render(&self, program: &str, files: &Files) -> String {
        self.list.iter().map(|diagnostic| diagnostic.render(program, files)).collect()
    }

    fn add(&mut self, severity: Severity, message: String, span: Option<Span>) {
        self.is_last_dropped = span.is_some_and(|span| self.is_closed(span));
        if !self.is_last_dropped {
            self.list.push(Diagnostic { severity, message, span, help: None });
        }
    }

    fn is_closed(&self, span: Span) -> bool {
        self.closed
            .iter()
            .any(|part| part.file == span.file && (part.start..part.end).contains(&span.start))
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{Root, parse};

    /// What is shown of the first error in a text.
    fn shown(text: &str) -> String {
        let (mut files, mut diagnostics) = (Files::default(), Diagnostics::default());
        let path = PathBuf::from("/a.conf");
        files.pretend(path.clone(), text.as_bytes().to_vec());
        parse(Root::Path(path), "/".as_ref(), &mut files, &mut diagnostics);
        let first = diagnostics.iter().next().expect("an error");
        first.render("p", &files)
    }

    #[test]
    fn carets_stand_below_wide_characters_too() {
        let text = shown("root /\u{65e5}\u{672c}/e\u{301}; }\n");
        let lines: Vec<_> = text.lines().collect();
        let column =
            unicode_width::UnicodeWidthStr::width(&lines[1][..lines[1].find('}').unwrap()]);
        assert_eq!(lines[2].find('^'), Some(column), "{text}");
    }

    #[test]
    fn lines_are_short_and_say_nothing_to_a_terminal() {
        let long = "x".repeat(3000);
        for text in
            [format!("a {long}; }} {long}\n"), format!("{long} {long} {long} \u{1b}[2J }}\n")]
        {
            let text = shown(&text);
            assert!(text.lines().all(|line| line.chars().count() < 200), "{text}");
            assert!(!text.contains('\u{1b}'));
            let lines: Vec<_> = text.lines().collect();
            let at = lines[2].find('^').unwrap();
            assert_eq!(lines[1].chars().nth(at), Some('}'), "{text}");
        }
        let text = shown("\u{1b}\u{9b}\u{7f} }\n");
        assert!(!text.chars().any(|one| one.is_control() && one != '\n'), "{text:?}");
    }
}
