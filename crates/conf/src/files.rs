//! The files of a configuration, and places in them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u32);

/// A stretch of a file's bytes, and the line that messages about it name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
    /// The line in nginx's sentence. nginx speaks once it has read a whole directive, so this is the line of the `;` or
    /// `{` that ended the directive, not the line where the span starts.
    pub line: u32,
}

/// Where a span starts, counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    pub file: &'a File,
    pub line: u32,
    pub column: u32,
}

/// A configuration text with its name.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    name: PathBuf,
    text: Arc<[u8]>,
    from_command_line: bool,
    /// Where the file was first included from.
    included_by: Option<Span>,
}

impl File {
    /// The path as it was opened.
    pub fn name(&self) -> &Path {
        &self.name
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text is the parameter of `-g`, which has no name and no lines.
    pub fn is_command_line(&self) -> bool {
        self.from_command_line
    }
}

/// All texts that a configuration was read from, in the order in which they were first opened.
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<File>,
}

impl Files {
    pub fn name(&self, id: FileId) -> &Path {
        self.file(id).name()
    }

    pub fn file(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    /// Each file once, in first-open order, as `-T` prints them. The parameter of `-g` is not among them.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| !file.from_command_line)
    }

    /// Sorts places in the order in which the texts are read, each included one in its place.
    pub fn reading_order(&self, span: Span) -> Vec<(u32, u32)> {
        let mut order = vec![(span.line, span.start)];
        let mut file = span.file;
        while let Some(by) = self.file(file).included_by {
            order.push((by.line, by.start));
            file = by.file;
        }
        order.push((file.0, 0));
        order.reverse();
        order
    }

    /// The place where the span starts.
    pub fn position(&self, span: Span) -> Position<'_> {
        let file = self.file(span.file);
        let before = &file.text[..span.start as usize];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let newlines = before[..line_start].iter().filter(|&&byte| byte == b'\n').count();
        let characters = String::from_utf8_lossy(&before[line_start..]).chars().count();

        Position { file, line: newlines as u32 + 1, column: characters as u32 + 1 }
    }

    /// The whole line where the span starts, without its line break.
    pub fn line_text(&self, span: Span) -> Cow<'_, str> {
        let (line, _) = self.line_around(span);
        String::from_utf8_lossy(line)
    }

    /// The line where the span starts, and the offset of the span in it.
    pub(crate) fn line_around(&self, span: Span) -> (&[u8], usize) {
        let text = self.file(span.file).text();
        let at = span.start as usize;
        let start = text[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |found| found + 1);
        let end = text[at..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(text.len(), |found| at + found);
        let line = &text[start..end];
        (line.strip_suffix(b"\r").unwrap_or(line), at - start)
    }

    /// Has a file be read as if it held this text.
    pub fn pretend(&mut self, name: PathBuf, text: Vec<u8>) {
        self.add(name, text);
    }

    /// Adds the parameter of `-g`.
    pub(crate) fn add_command_line(&mut self, text: Vec<u8>) -> FileId {
        self.push(PathBuf::new(), text, true)
    }

    /// Adds a file that an `include` names.
    pub(crate) fn add_included(
        &mut self,
        name: PathBuf,
        text: Vec<u8>,
        by: Option<Span>,
    ) -> FileId {
        let id = self.add(name, text);
        self.files[id.0 as usize].included_by = by;
        id
    }

    /// Adds a file; a name that is known already keeps its first content.
    pub(crate) fn add(&mut self, name: PathBuf, text: Vec<u8>) -> FileId {
        match self.find(&name) {
            Some(known) => known,
            None => self.push(name, text, false),
        }
    }

    pub(crate) fn find(&self, name: &Path) -> Option<FileId> {
        let known = self.files.iter().position(|file| {
            !file.from_command_line && file.name.as_os_str() == name.as_os_str()
        })?;
        Some(FileId(known as u32))
    }

    pub(crate) fn shared_text(&self, id: FileId) -> Arc<[u8]> {
        Arc::clone(&self.files[id.0 as usize].text)
    }

    fn push(&mut self, name: PathBuf, text: Vec<u8>, from_command_line: bool) -> FileId {
        let id = FileId(self.files.len() as u32);
        self.files.push(File { name, text: text.into(), from_command_line, included_by: None });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_counts_lines_and_characters_from_one() {
        let mut files = Files::default();
        let file = files.add("a.conf".into(), "one;\n# é\n  é two;\r\n".as_bytes().to_vec());
        let start = files.file(file).text().windows(3).position(|w| w == b"two").unwrap() as u32;
        let span = Span { file, start, end: start + 3, line: 3 };

        let position = files.position(span);

        assert_eq!((position.line, position.column), (3, 5));
        assert_eq!(files.line_text(span), "  é two;");
    }

    #[test]
    fn a_file_that_is_opened_twice_is_listed_once() {
        let mut files = Files::default();
        let first = files.add("b.conf".into(), b"b;".to_vec());
        files.add_command_line(b"daemon off;".to_vec());
        files.add("a.conf".into(), b"a;".to_vec());
        let again = files.add("b.conf".into(), b"b;".to_vec());

        assert_eq!(first, again);
        let names: Vec<_> = files.iter().map(File::name).collect();
        assert_eq!(names, [Path::new("b.conf"), Path::new("a.conf")]);
    }
}
