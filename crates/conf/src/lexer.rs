//! Bytes to words, `;`, `{` and `}`, by the rules of nginx's reader.

use crate::files::{FileId, Span};
use crate::lua;
use crate::tree::Word;

/// nginx reads files through a buffer of this size and a word has to fit in it, so a file's words are shorter.
const WORD_LIMIT: usize = 4096;

#[derive(Debug)]
pub(crate) enum Token {
    Word(Word),
    Semicolon(Span),
    Open(Span),
    Close(Span),
    End(Span),
}

#[derive(Debug)]
pub(crate) enum LexError {
    /// A quoted word is followed by something other than a space, `;`, `{` or `)`. Reading may go on after it.
    Unexpected(u8, Span),
    /// The text ended within a word. The quote is where it was opened, if it was.
    EndInWord { end: Span, quote: Option<Span> },
    /// The word does not fit nginx's buffer.
    TooLong { start: Span, quote: Option<u8>, begins: String },
}

pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    file: FileId,
    at: usize,
    line: u32,
    /// nginx limits the words of files, not those of `-g`.
    word_limit: usize,
    after_quote: bool,
    gave_up: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], file: FileId, is_command_line: bool) -> Self {
        Lexer {
            text,
            file,
            at: 0,
            line: 1,
            word_limit: if is_command_line { usize::MAX } else { WORD_LIMIT },
            after_quote: false,
            gave_up: false,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Token, LexError> {
        if self.after_quote {
            self.after_quote = false;
            self.check_after_quote()?;
        }
        self.skip_blank();
        let start = self.at;
        let Some(byte) = self.peek() else {
            return Ok(Token::End(self.span(start)));
        };
        match byte {
            b';' => Ok(Token::Semicolon(self.one())),
            b'{' => Ok(Token::Open(self.one())),
            b'}' => Ok(Token::Close(self.one())),
            b'"' | b'\'' => self.quoted_word(byte),
            _ => self.bare_word(),
        }
    }

    /// Reads past a program, whose block was opened, and its closing brace: where that stands. None where
    /// the text ends before, which is left to be told.
    pub(crate) fn skip_lua(&mut self) -> Option<Span> {
        let length = lua::end_of_block(&self.text[self.at..]);
        let end = self.at + length.unwrap_or(self.text.len() - self.at);
        while self.at < end {
            self.bump();
        }
        length.map(|_| self.one())
    }

    /// Nothing more comes: what follows a fatal error is not read.
    pub(crate) fn give_up(&mut self) {
        self.at = self.text.len();
        self.after_quote = false;
        self.gave_up = true;
    }

    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn check_after_quote(&mut self) -> Result<(), LexError> {
        match self.peek() {
            // A `}` is refused too, by the parser, which knows what it would close.
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b'}' | b')') => Ok(()),
            Some(byte) => {
                let mut span = self.span(self.at);
                span.end += 1;
                Err(LexError::Unexpected(byte, span))
            }
        }
    }

    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.bump(),
                b'#' => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.bump();
        }
    }

    fn bare_word(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        let start_line = self.line;
        let mut after_dollar = false;
        loop {
            let Some(byte) = self.peek() else {
                return Err(LexError::EndInWord { end: self.span(self.at), quote: None });
            };
            self.check_length(start, start, start_line)?;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                // `${name}` is no block. As in nginx, any number of braces may follow the dollar.
                b'{' if !after_dollar => break,
                b'{' => {}
                b'\\' => {
                    self.bump();
                    after_dollar = false;
                    if self.peek().is_none() {
                        continue;
                    }
                }
                _ => after_dollar = byte == b'$',
            }
            self.bump();
        }
        Ok(Token::Word(Word {
            text: unescape(&self.text[start..self.at]),
            quoted: false,
            span: self.span(start),
        }))
    }

    fn quoted_word(&mut self, quote: u8) -> Result<Token, LexError> {
        let start = self.at;
        let start_line = self.line;
        let opening = self.one();
        loop {
            let Some(byte) = self.peek() else {
                return Err(LexError::EndInWord { end: self.span(self.at), quote: Some(opening) });
            };
            self.check_length(start + 1, start, start_line)?;
            if byte == quote {
                break;
            }
            self.bump();
            if byte == b'\\' && self.peek().is_some() {
                self.bump();
            }
        }
        let text = unescape(&self.text[start + 1..self.at]);
        self.bump();
        self.after_quote = true;
        Ok(Token::Word(Word { text, quoted: true, span: self.span(start) }))
    }

    /// `content` is where the word's bytes start, `start` where it starts with its quote.
    fn check_length(&self, content: usize, start: usize, start_line: u32) -> Result<(), LexError> {
        if self.at - content < self.word_limit {
            return Ok(());
        }
        let quote = (content != start).then(|| self.text[start]);
        let start =
            Span { file: self.file, start: start as u32, end: start as u32 + 1, line: start_line };
        let begins = String::from_utf8_lossy(&self.text[content..content + 10]).into_owned();
        Err(LexError::TooLong { start, quote, begins })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) {
        if self.text[self.at] == b'\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    /// Takes one byte as a token.
    fn one(&mut self) -> Span {
        let start = self.at;
        self.bump();
        self.span(start)
    }

    /// From `start` to here.
    fn span(&self, start: usize) -> Span {
        Span { file: self.file, start: start as u32, end: self.at as u32, line: self.line }
    }
}

/// Resolves `\"`, `\'`, `\\`, `\t`, `\r` and `\n`. Every other backslash stays: regular expressions need theirs.
fn unescape(raw: &[u8]) -> Box<[u8]> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let (byte, taken) = match (first, tail.first()) {
            (b'\\', Some(&escaped @ (b'"' | b'\'' | b'\\'))) => (escaped, 2),
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (&byte, _) => (byte, 1),
        };
        text.push(byte);
        rest = &rest[taken..];
    }
    text.into()
}
