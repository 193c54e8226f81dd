//! Words to a tree, with what is included in its place.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::diagnostics::Diagnostics;
use crate::files::{FileId, Files, Span};
use crate::glob::glob;
use crate::lexer::{LexError, Lexer, Token};
use crate::lua;
use crate::tree::{Block, Directive, Word};

/// Far more than any real configuration nests. It keeps the stack of whoever walks the tree from overflowing.
const MAX_BLOCK_DEPTH: usize = 128;

/// Where a configuration starts.
#[derive(Clone, Debug)]
pub enum Root {
    /// The file named by `-c`, with its full path.
    Path(PathBuf),
    /// A text that is built in.
    Embedded { name: PathBuf, text: Vec<u8> },
    /// The parameter of `-g`: it has no lines, and no blocks.
    CommandLine(Vec<u8>),
}

/// Reads a configuration and everything it includes. Relative names of included files start from `conf_prefix`, the
/// folder of the main configuration file.
///
/// What is wrong goes to `diagnostics`, and reading goes on where that makes sense: the tree is whole only if no error
/// was added.
pub fn parse(
    root: Root,
    conf_prefix: &Path,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Block {
    let mut parser = Parser { conf_prefix, files, diagnostics, opened: Vec::new(), depth: 0 };
    let file = match root {
        Root::Path(path) => match parser.open(path.clone(), None) {
            Some(file) => file,
            None => parser.files.add(path, Vec::new()),
        },
        Root::Embedded { name, text } => parser.files.add(name, text),
        Root::CommandLine(text) => parser.files.add_command_line(text),
    };
    parser.file(file)
}

struct Parser<'a> {
    conf_prefix: &'a Path,
    files: &'a mut Files,
    diagnostics: &'a mut Diagnostics,
    /// The files that are being read: the root, what it includes, and so on down.
    opened: Vec<FileId>,
    depth: usize,
}

impl Parser<'_> {
    fn file(&mut self, file: FileId) -> Block {
        let text = self.files.shared_text(file);
        let is_command_line = self.files.file(file).is_command_line();
        let mut lexer = Lexer::new(&text, file, is_command_line);

        self.opened.push(file);
        let block = self.block(&mut lexer, None);
        self.opened.pop();
        block
    }

    /// Reads up to the `}` of the block that `opener` opened, or to the end of the file.
    fn block(&mut self, lexer: &mut Lexer<'_>, opener: Option<Span>) -> Block {
        let mut directives = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        loop {
            match lexer.next() {
                Ok(Token::Word(word)) => words.push(word),
                Ok(Token::Semicolon(end)) => {
                    self.simple(mem::take(&mut words), end, &mut directives)
                }
                Ok(Token::Open(brace)) => {
                    self.braced(mem::take(&mut words), brace, lexer, &mut directives)
                }
                Ok(Token::Close(brace)) => {
                    self.close(mem::take(&mut words), brace, opener, &mut directives);
                    if opener.is_some() {
                        return Block { directives, close: brace };
                    }
                }
                Ok(Token::End(end)) => {
                    if !lexer.gave_up() {
                        self.end(&words, opener, end);
                    }
                    return Block { directives, close: end };
                }
                Err(LexError::Unexpected(byte, span)) => {
                    self.unexpected(byte, span);
                    self.broken_off(&words, span);
                }
                Err(LexError::EndInWord { end, quote }) => {
                    self.end_in_word(end, quote);
                    lexer.give_up();
                }
                Err(LexError::TooLong { start, quote, begins }) => {
                    self.too_long(start, quote, &begins);
                    lexer.give_up();
                }
            }
        }
    }

    /// A directive that ends in `;`.
    fn simple(&mut self, words: Vec<Word>, end: Span, out: &mut Vec<Directive>) {
        let Some(directive) = directive(words, end) else {
            return self.unexpected(b';', end);
        };
        if directive.name == "include" {
            self.include(&directive, out);
        } else {
            out.push(directive);
        }
    }

    /// A directive that ends in `{`, and its block.
    fn braced(
        &mut self,
        words: Vec<Word>,
        brace: Span,
        lexer: &mut Lexer<'_>,
        out: &mut Vec<Directive>,
    ) {
        let directive = directive(words, brace);
        match &directive {
            None => self.unexpected(b'{', brace),
            Some(include) if include.name == "include" => {
                self.diagnostics
                    .emerg("directive \"include\" is not terminated by \";\"", include.span);
            }
            Some(_) if self.in_command_line(brace) => {
                self.diagnostics.emerg("block directives are not supported in -g option", brace);
            }
            Some(_) => {}
        }
        if self.depth == MAX_BLOCK_DEPTH {
            self.diagnostics
                .emerg(format!("blocks are nested more than {MAX_BLOCK_DEPTH} deep"), brace);
            return lexer.give_up();
        }

        let opener = directive.as_ref().map_or(brace, |directive| directive.name.span);
        let holds_lua = directive.as_ref().is_some_and(|it| lua::is_opened_by(&it.name.text));
        let program = if holds_lua { lexer.skip_lua() } else { None };
        let block = match program {
            Some(close) => Block { directives: Vec::new(), close },
            None => {
                self.depth += 1;
                let block = self.block(lexer, Some(opener));
                self.depth -= 1;
                block
            }
        };

        let Some(mut directive) = directive else {
            return;
        };
        if directive.name != "include" {
            directive.block = Some(block);
            out.push(directive);
        }
    }

    /// `}`: words before it lack their `;`, and there has to be a block to close.
    fn close(
        &mut self,
        words: Vec<Word>,
        brace: Span,
        opener: Option<Span>,
        out: &mut Vec<Directive>,
    ) {
        if let Some(last) = words.last() {
            let help = match &*words[0].text {
                [b'<', ..] => "sections of Apache's are blocks here: location /path { }".to_owned(),
                _ if is_repetition(&words) && opener.is_some() => QUOTE_BRACES.to_owned(),
                _ => format!("a \";\" is missing after \"{last}\""),
            };
            self.unexpected(b'}', brace);
            self.diagnostics.help(help);
            self.broken_off(&words, brace);
            self.simple(words, brace, out);
        } else if opener.is_none() {
            self.unexpected(b'}', brace);
        }
    }

    /// What else is wrong with these words may come of what broke them off at `end`.
    fn broken_off(&mut self, words: &[Word], end: Span) {
        if let Some(first) = words.first() {
            self.diagnostics.say_no_more_of(Span {
                start: first.span.start,
                end: end.start,
                ..end
            });
        }
    }

    /// The file ends: no directive and no block may be open.
    fn end(&mut self, words: &[Word], opener: Option<Span>, end: Span) {
        if let Some(first) = words.first() {
            let begun = Span { line: end.line, ..first.span };
            self.end_of_text(end, begun);
            if let Some(last) = words.last() {
                self.diagnostics.help(format!("a \";\" is missing after \"{last}\""));
            }
        } else if let Some(opener) = opener {
            let opened = Span { line: end.line, ..opener };
            self.diagnostics.emerg("unexpected end of file, expecting \"}\"", opened);
            self.diagnostics.help("the block that is opened here is not closed");
        }
    }

    fn end_in_word(&mut self, end: Span, quote: Option<Span>) {
        let Some(quote) = quote else {
            return self.end_of_text(end, end);
        };
        self.end_of_text(end, Span { line: end.line, ..quote });
        self.diagnostics.help("the quote that is opened here is not closed");
    }

    fn end_of_text(&mut self, end: Span, show: Span) {
        let message = match self.in_command_line(end) {
            true => "unexpected end of parameter, expecting \";\"",
            false => "unexpected end of file, expecting \";\" or \"}\"",
        };
        self.diagnostics.emerg(message, show);
    }

    fn too_long(&mut self, start: Span, quote: Option<u8>, begins: &str) {
        let message = match quote {
            Some(quote) => {
                let quote = char::from(quote);
                format!("too long parameter, probably missing terminating \"{quote}\" character")
            }
            None => format!("too long parameter \"{begins}...\" started"),
        };
        self.diagnostics.emerg(message, start);
    }

    fn unexpected(&mut self, byte: u8, span: Span) {
        let message = format!("unexpected \"{}\"", String::from_utf8_lossy(&[byte]));
        self.diagnostics.emerg(message, span);
    }

    fn in_command_line(&self, span: Span) -> bool {
        self.files.file(span.file).is_command_line()
    }

    /// Puts what the included files hold in the place of the directive.
    fn include(&mut self, include: &Directive, out: &mut Vec<Directive>) {
        let [name] = &include.args[..] else {
            self.diagnostics
                .emerg("invalid number of arguments in \"include\" directive", include.span);
            return;
        };
        // Joining an absolute name yields that name.
        let path = self.conf_prefix.join(OsStr::from_bytes(&name.text));
        if !name.text.iter().any(|byte| b"*?[".contains(byte)) {
            return self.include_file(path, name.span, out);
        }
        for found in glob(&path) {
            self.include_file(found, name.span, out);
        }
    }

    fn include_file(&mut self, path: PathBuf, by: Span, out: &mut Vec<Directive>) {
        let Some(file) = self.open(path, Some(by)) else {
            return;
        };
        if self.opened.contains(&file) {
            let name = self.files.name(file).display();
            self.diagnostics.emerg(format!("\"{name}\" includes itself"), by);
            return;
        }
        out.extend(self.file(file).directives);
    }

    fn open(&mut self, path: PathBuf, by: Option<Span>) -> Option<FileId> {
        if let Some(known) = self.files.find(&path) {
            return Some(known);
        }
        let read =
            std::fs::File::open(&path).map_err(|error| ("open", error)).and_then(|mut file| {
                let mut text = Vec::new();
                file.read_to_end(&mut text).map_err(|error| ("pread", error))?;
                Ok(text)
            });
        match read {
            Ok(text) if u32::try_from(text.len()).is_err() => {
                self.diagnostics.emerg(
                    format!("\"{}\" is too large for a configuration file", path.display()),
                    by,
                );
                None
            }
            Ok(text) => Some(self.files.add_included(path, text, by)),
            Err((call, error)) => {
                self.diagnostics.emerg(
                    format!("{call}() \"{}\" failed ({})", path.display(), os_error(&error)),
                    by,
                );
                None
            }
        }
    }
}

/// Words that `end` made a directive; none without words.
fn directive(words: Vec<Word>, end: Span) -> Option<Directive> {
    let mut words = words.into_iter().map(|mut word| {
        word.span.line = end.line;
        word
    });
    let name = words.next()?;
    let span = Span { start: name.span.start, ..end };
    let args = words.collect();
    Some(Directive { name, args, block: None, span })
}

/// For patterns whose braces are taken for a block's.
pub const QUOTE_BRACES: &str = "a pattern with { } has to stand in quotes";

/// What stands between the braces of `a{2,3}`, which opened a block.
fn is_repetition(words: &[Word]) -> bool {
    let [word] = words else { return false };
    !word.quoted && word.text.iter().all(|byte| byte.is_ascii_digit() || *byte == b',')
}

/// nginx's form of a system error: `2: No such file or directory`.
fn os_error(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else {
        return error.to_string();
    };
    let sentence = error.to_string();
    let sentence = sentence.strip_suffix(&format!(" (os error {code})")).unwrap_or(&sentence);
    format!("{code}: {sentence}")
}
