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
        let mut out = format!("{program}: [{}] {}\n", self.severity, self.sentence(files));
        let gutter = self.span.map_or(0, |span| write_source(&mut out, span, files));
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{:gutter$}help: {help}", "");
        }
        out
    }
}

/// Writes the line where the span starts and carets under the part that the span covers. Returns the gutter's width.
fn write_source(out: &mut String, span: Span, files: &Files) -> usize {
    let (line, from) = files.line_around(span);
    let from = from.min(line.len());
    let to = (from + (span.end - span.start) as usize).min(line.len());
    let number = files.position(span).line.to_string();
    let blank = " ".repeat(number.len());

    let shown = String::from_utf8_lossy(line);
    // A tab stays a tab, so that the carets stand right whatever a terminal's tab stops are.
    let indent: String = String::from_utf8_lossy(&line[..from])
        .chars()
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let carets = String::from_utf8_lossy(&line[from..to]).chars().count().max(1);

    let _ = writeln!(out, " {number} | {shown}");
    let _ = writeln!(out, " {blank} | {indent}{}", "^".repeat(carets));
    number.len() + 2
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
