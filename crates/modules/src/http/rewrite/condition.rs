//! The condition of an `if`.

use std::io;
use std::ops::ControlFlow;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Script, Session, VariableId};
use daemun_http::files::{self, FileInfo};
use daemun_http::module::Step;
use daemun_http::request::{Request, Text};

use super::Run;

pub(super) enum Condition {
    /// Neither empty nor `0`.
    IsTrue(VariableId),
    Equals {
        variable: VariableId,
        value: Script,
        is_negated: bool,
    },
    Matches {
        variable: VariableId,
        pattern: Box<NamedPattern>,
        is_negated: bool,
    },
    File {
        path: Script,
        kind: FileKind,
        is_negated: bool,
    },
}

/// What a file is asked to be.
#[derive(Clone, Copy)]
pub(super) enum FileKind {
    Plain,
    Folder,
    Any,
    Executable,
}

impl Condition {
    /// Reads the words between an `if` and its block.
    pub fn read(loader: &mut Loader<'_>, words: &[conf::Word]) -> Result<Condition, Fault> {
        let words = within_parentheses(words)?;
        match &*words {
            [first, rest @ ..] if first.text.len() > 1 && first.text.starts_with(b"$") => {
                if !matches!(rest.len(), 0 | 2) {
                    return Err(invalid(first));
                }
                let name = crate::shared::variable_name(first)?;
                let variable = loader.variables.refer(name, first.span);
                match rest {
                    [operator, value] => compare(loader, variable, operator, value),
                    _ => Ok(Condition::IsTrue(variable)),
                }
            }
            [operator, path] if is_file_operator(&operator.text) => test(loader, operator, path),
            [first, ..] => Err(invalid(first)),
            [] => Err("invalid condition \"(\"".to_owned().into()),
        }
    }

    pub fn holds(&'static self, run: &Run, request: &mut Request) -> ControlFlow<Step, bool> {
        match self {
            Condition::IsTrue(id) => {
                let value = variable_of(request, *id);
                ControlFlow::Continue(!matches!(&*value, b"" | b"0"))
            }
            Condition::Equals { variable, value, is_negated } => {
                let left = variable_of(request, *variable);
                let right = run.value(request, value);
                ControlFlow::Continue((*left == *right) != *is_negated)
            }
            Condition::Matches { variable, pattern, is_negated } => {
                let subject = variable_of(request, *variable);
                let is_match = run.matches(request, pattern, &subject)?;
                ControlFlow::Continue(is_match != *is_negated)
            }
            Condition::File { path, kind, is_negated } => {
                let path = run.value(request, path);
                ControlFlow::Continue(kind.is_at(request, &path) != *is_negated)
            }
        }
    }
}

fn variable_of(request: &mut Request, id: VariableId) -> Vec<u8> {
    let mut value = Vec::new();
    request.variable(id, &mut value);
    value
}

impl FileKind {
    fn is_at(self, request: &mut Request, path: &[u8]) -> bool {
        match files::test(request, path) {
            Ok(info) => self.fits(&info),
            Err(error) => {
                use io::ErrorKind::*;
                if !matches!(error.kind(), NotFound | NotADirectory | InvalidFilename) {
                    let path = Text(path);
                    log!(request.log(), Crit, *request, "stat() \"{}\" failed", path; error);
                }
                false
            }
        }
    }

    fn fits(self, info: &FileInfo) -> bool {
        match self {
            FileKind::Plain => info.is_file,
            FileKind::Folder => info.is_directory,
            FileKind::Any => info.is_file || info.is_directory,
            FileKind::Executable => info.is_executable,
        }
    }
}

fn invalid(word: &conf::Word) -> Fault {
    Fault::from(format!("invalid condition \"{word}\"")).at(word.span)
}

/// The words less the parentheses around them, which may be words of their own.
fn within_parentheses(words: &[conf::Word]) -> Result<Vec<conf::Word>, Fault> {
    let mut inner = words.to_vec();
    let Some(text) = inner[0].text.strip_prefix(b"(") else {
        return Err(invalid(&inner[0]));
    };
    inner[0].text = text.into();
    let last = inner.len() - 1;
    let Some(text) = inner[last].text.strip_suffix(b")") else {
        return Err(invalid(&words[last]));
    };
    inner[last].text = text.into();
    if inner[last].text.is_empty() && words[last] == ")" {
        inner.pop();
    }
    if words[0] == "(" {
        inner.remove(0);
    }
    Ok(inner)
}

fn compare(
    loader: &mut Loader<'_>,
    variable: VariableId,
    operator: &conf::Word,
    value: &conf::Word,
) -> Result<Condition, Fault> {
    let is_negated = operator.text.starts_with(b"!");
    match &*operator.text {
        b"=" | b"!=" => {
            let value = loader.script(value)?;
            Ok(Condition::Equals { variable, value, is_negated })
        }
        b"~" | b"~*" | b"!~" | b"!~*" => {
            let caseless = operator.text.ends_with(b"*");
            let pattern = loader.pattern(value, &value.text, caseless)?;
            Ok(Condition::Matches { variable, pattern, is_negated })
        }
        _ => {
            let sentence = format!("unexpected \"{operator}\" in condition");
            Err(Fault::from(sentence).at(operator.span))
        }
    }
}

fn is_file_operator(text: &[u8]) -> bool {
    matches!(text, [b'-', _] | [b'!', b'-', _])
}

fn test(
    loader: &mut Loader<'_>,
    operator: &conf::Word,
    path: &conf::Word,
) -> Result<Condition, Fault> {
    let kind = match operator.text.last() {
        Some(b'f') => FileKind::Plain,
        Some(b'd') => FileKind::Folder,
        Some(b'e') => FileKind::Any,
        Some(b'x') => FileKind::Executable,
        _ => return Err(invalid(operator)),
    };
    let path = loader.script(path)?;
    Ok(Condition::File { path, kind, is_negated: operator.text.starts_with(b"!") })
}
