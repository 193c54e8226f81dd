//! `match`: what a response has to be like.

use std::ops::RangeInclusive;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Session, VariableId};

use super::probe::Response;
use crate::shared::variable_name;

/// A `match` block.
pub struct Tests {
    pub name: String,
    tests: Vec<Test>,
}

enum Test {
    Status { codes: Vec<RangeInclusive<u16>>, is_negated: bool },
    Header { name: Box<[u8]>, value: Value },
    Body { pattern: Box<NamedPattern>, is_negated: bool },
    Require(Vec<VariableId>),
}

/// What a field has to be.
enum Value {
    There,
    Missing,
    Equal { text: Box<[u8]>, is_negated: bool },
    Matching { pattern: Box<NamedPattern>, is_negated: bool },
}

impl Tests {
    pub fn read(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Tests, Fault> {
        let entries = directive.block.as_ref().map_or(&[][..], |block| &block.directives);
        let tests = entries
            .iter()
            .map(|entry| Test::read(loader, entry).map_err(|fault| fault.at(entry.name.span)));
        Ok(Tests { name: directive.args[0].to_string(), tests: tests.collect::<Result<_, _>>()? })
    }

    /// The first thing that is wrong with a response, as what was being done.
    pub fn fault(&self, response: &Response, session: &mut dyn Session) -> Option<&'static str> {
        self.tests.iter().find_map(|test| test.fault(response, session))
    }
}

impl Test {
    fn read(loader: &mut Loader<'_>, entry: &conf::Directive) -> Result<Test, Fault> {
        let name = &entry.name;
        let wrong_number = || Fault::from(format!("invalid number of arguments in \"{name}\""));
        match (&*name.text, &*entry.args) {
            (b"status", words) => {
                let (is_negated, words) = negation(words);
                if words.is_empty() {
                    return Err(wrong_number());
                }
                let codes = words.iter().map(|word| {
                    codes(&word.text).ok_or_else(|| format!("invalid status \"{word}\"").into())
                });
                Ok(Test::Status { codes: codes.collect::<Result<_, Fault>>()?, is_negated })
            }
            (b"header", [bang, field]) if bang == "!" => {
                Ok(Test::Header { name: field.text.clone(), value: Value::Missing })
            }
            (b"header", [field]) => {
                Ok(Test::Header { name: field.text.clone(), value: Value::There })
            }
            (b"header", [field, operator, value]) => Ok(Test::Header {
                name: field.text.clone(),
                value: Value::read(loader, operator, value)?,
            }),
            (b"body", [operator, pattern]) => {
                let is_negated = match &*operator.text {
                    b"~" => false,
                    b"!~" => true,
                    _ => return Err(invalid_operator(operator)),
                };
                let pattern = loader.pattern(pattern, &pattern.text, false)?;
                Ok(Test::Body { pattern, is_negated })
            }
            (b"require", words @ [_, ..]) => {
                let variables = words.iter().map(|word| {
                    let name = variable_name(word)?;
                    Ok(loader.variables.refer(name, word.span))
                });
                Ok(Test::Require(variables.collect::<Result<_, Fault>>()?))
            }
            (b"header" | b"body" | b"require", _) => Err(wrong_number()),
            _ => Err(format!("unknown directive \"{name}\"").into()),
        }
    }

    fn fault(&self, response: &Response, session: &mut dyn Session) -> Option<&'static str> {
        let (is_good, doing) = match self {
            Test::Status { codes, is_negated } => {
                let is_one = codes.iter().any(|codes| codes.contains(&response.status));
                (is_one != *is_negated, "checking status code")
            }
            Test::Header { name, value } => (value.is_met(response.field(name)), "checking header"),
            Test::Body { pattern, is_negated } => {
                let is_match = pattern.pattern.is_match(&response.body).unwrap_or(false);
                (is_match != *is_negated, "checking body")
            }
            Test::Require(variables) => {
                (variables.iter().all(|id| is_true(*id, session)), "checking requirements")
            }
        };
        (!is_good).then_some(doing)
    }
}

impl Value {
    fn read(
        loader: &mut Loader<'_>,
        operator: &conf::Word,
        value: &conf::Word,
    ) -> Result<Value, Fault> {
        let is_negated = operator.text.starts_with(b"!");
        match &*operator.text {
            b"=" | b"!=" => Ok(Value::Equal { text: value.text.clone(), is_negated }),
            b"~" | b"!~" => {
                let pattern = loader.pattern(value, &value.text, false)?;
                Ok(Value::Matching { pattern, is_negated })
            }
            _ => Err(invalid_operator(operator)),
        }
    }

    fn is_met(&self, field: Option<&[u8]>) -> bool {
        match (self, field) {
            (Value::Missing, field) => field.is_none(),
            (_, None) => false,
            (Value::There, Some(_)) => true,
            (Value::Equal { text, is_negated }, Some(field)) => (**text == *field) != *is_negated,
            (Value::Matching { pattern, is_negated }, Some(field)) => {
                pattern.pattern.is_match(field).unwrap_or(false) != *is_negated
            }
        }
    }
}

/// Neither empty nor `0`.
fn is_true(id: VariableId, session: &mut dyn Session) -> bool {
    let mut value = Vec::new();
    session.variable(id, &mut value) && !value.is_empty() && value != b"0"
}

fn negation(words: &[conf::Word]) -> (bool, &[conf::Word]) {
    match words {
        [bang, rest @ ..] if bang == "!" => (true, rest),
        _ => (false, words),
    }
}

/// `200` or `200-399`.
fn codes(text: &[u8]) -> Option<RangeInclusive<u16>> {
    let code = |text: &[u8]| {
        let code = units::integer(text)?;
        u16::try_from(code).ok().filter(|code| *code <= 999)
    };
    let (first, last) = match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => (code(&text[..dash])?, code(&text[dash + 1..])?),
        None => (code(text)?, code(text)?),
    };
    (first <= last).then_some(first..=last)
}

fn invalid_operator(operator: &conf::Word) -> Fault {
    Fault::from(format!("invalid operator \"{operator}\""))
}
