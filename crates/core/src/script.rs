//! Values with variables: compiled once into literal and variable parts, evaluated into a buffer.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use daemun_conf::Span;
use daemun_event::Peer;
use daemun_pattern::StepLimit;

use crate::named_pattern::NamedPattern;

/// A variable's place in its protocol's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VariableId(pub u16);

/// What a script, and every module that serves more than one protocol, sees of a request or stream session.
pub trait Session {
    /// Appends the variable's value; `false` where it has none ("not found").
    fn variable(&mut self, id: VariableId, out: &mut Vec<u8>) -> bool;

    /// Appends the numbered capture of the last match.
    fn capture(&mut self, group: usize, out: &mut Vec<u8>) -> bool;

    /// Matches, and remembers the groups for `$1` to `$9` and for the pattern's named variables.
    fn matches(&mut self, pattern: &NamedPattern, subject: &[u8]) -> Result<bool, StepLimit>;

    /// Who is at the other end, as far as is known by now.
    fn client(&self) -> Peer;

    /// Whom the client claims to speak for, in the order of `X-Forwarded-For`; nobody where the protocol has no such
    /// field.
    fn forwarded_for(&self) -> Vec<&[u8]> {
        Vec::new()
    }
}

/// A computed variable's value, appended; `false` where it has none.
pub type Compute = Arc<dyn Fn(&mut dyn Session, &mut Vec<u8>) -> bool + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Variable(VariableId),
    Capture(usize),
}

/// A value of the configuration that may name variables and captures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(Box<[Part]>);

impl Script {
    pub fn literal(text: &[u8]) -> Script {
        if text.is_empty() {
            return Script::default();
        }
        Script(Box::new([Part::Literal(text.into())]))
    }

    /// Compiles `$name`, `${name}` and, where captures are allowed, `$1` to `$9`.
    ///
    /// The error is nginx's sentence.
    pub fn compile(text: &[u8], span: Span, variables: &mut Variables) -> Result<Script, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some((&byte, tail)) = rest.split_first() {
            if byte != b'$' {
                literal.push(byte);
                rest = tail;
                continue;
            }
            let (part, tail) = reference(tail, span, variables)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(part);
            rest = tail;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Script(parts.into()))
    }

    /// The text, where the script names nothing.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.0 {
            [] => Some(b""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text up to the first variable or capture.
    pub fn literal_prefix(&self) -> &[u8] {
        match self.0.first() {
            Some(Part::Literal(text)) => text,
            _ => b"",
        }
    }

    /// Appends the value; what is not found is empty.
    pub fn append(&self, session: &mut (impl Session + ?Sized), out: &mut Vec<u8>) {
        let mut is_settled = false;
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::Variable(id) => {
                    session.variable(*id, out);
                }
                Part::Capture(group) => {
                    if !is_settled {
                        compute(&self.0[index + 1..], session);
                        is_settled = true;
                    }
                    session.capture(*group, out);
                }
            }
        }
    }

    pub fn value(&self, session: &mut (impl Session + ?Sized)) -> Vec<u8> {
        let mut out = Vec::new();
        self.append(session, &mut out);
        out
    }

    /// The value in a storage of just its size.
    pub fn boxed(&self, session: &mut (impl Session + ?Sized)) -> Box<[u8]> {
        // Taken, not borrowed: a variable may be such a value itself.
        let mut value = VALUE.take();
        value.clear();
        self.append(session, &mut value);
        let boxed = Box::from(&*value);
        if value.capacity() <= KEPT {
            VALUE.set(value);
        }
        boxed
    }

    pub fn uses_captures(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Capture(_)))
    }
}

thread_local! {
    /// Where a value is put together before its size is known.
    static VALUE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Storage above this is not kept for the next value.
const KEPT: usize = 4096;

/// Computes the variables among the parts. nginx looks at all of them for their lengths before it takes a capture, so
/// that a match for one of them counts for captures in front of it too.
fn compute(parts: &[Part], session: &mut (impl Session + ?Sized)) {
    let mut value = Vec::new();
    for part in parts {
        if let Part::Variable(id) = part {
            value.clear();
            session.variable(*id, &mut value);
        }
    }
}

/// Reads one reference, `tail` beginning behind the dollar sign.
fn reference<'t>(
    tail: &'t [u8],
    span: Span,
    variables: &mut Variables,
) -> Result<(Part, &'t [u8]), String> {
    let invalid = || "invalid variable name".to_owned();
    if let Some((digit @ b'1'..=b'9', rest)) = tail.split_first() {
        return Ok((Part::Capture(usize::from(digit - b'0')), rest));
    }
    let (inner, braced) = match tail.strip_prefix(b"{") {
        Some(inner) => (inner, true),
        None => (tail, false),
    };
    let length = inner.iter().take_while(|byte| is_name_byte(**byte)).count();
    let (name, mut rest) = inner.split_at(length);
    if braced {
        rest = match rest.split_first() {
            Some((b'}', rest)) => rest,
            _ => {
                let name = String::from_utf8_lossy(name);
                return Err(format!("the closing bracket in \"{name}\" variable is missing"));
            }
        };
    }
    if name.is_empty() {
        return Err(invalid());
    }
    if braced && let [digit @ b'1'..=b'9'] = name {
        return Ok((Part::Capture(usize::from(digit - b'0')), rest));
    }
    let name = std::str::from_utf8(name).map_err(|_| invalid())?;
    Ok((Part::Variable(variables.refer(name, span)), rest))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// How a variable that the configuration itself introduces gets its value.
#[derive(Clone)]
pub enum Definition {
    /// Stored by a match of a pattern with a group of that name; without one it has no value.
    Captured,
    /// Stored by `set`, and empty until then; what else has that name, or family, goes before it.
    Assigned,
    /// Computed on demand, and once a request unless it is volatile.
    Computed { compute: Compute, volatile: bool },
}

/// A name that the configuration uses or defines.
pub struct Named {
    pub name: String,
    /// Where it is first used, for the sentence that says it is unknown.
    pub used: Option<Span>,
    pub definition: Option<Definition>,
    /// Where it is defined.
    pub defined: Option<Span>,
    /// As it is spelt there, if not in lower case.
    defined_as: Option<Box<str>>,
}

impl Named {
    /// The name as whoever defined it spells it.
    pub fn spelling(&self) -> &str {
        self.defined_as.as_deref().unwrap_or(&self.name)
    }
}

/// The names of variables that one configuration mentions. Names are case-insensitive, as in nginx.
#[derive(Default)]
pub struct Variables {
    list: Vec<Named>,
    by_name: HashMap<String, VariableId>,
}

impl Variables {
    /// The id of a variable that a value uses.
    pub fn refer(&mut self, name: &str, span: Span) -> VariableId {
        let id = self.intern(name);
        self.list[usize::from(id.0)].used.get_or_insert(span);
        id
    }

    /// The id of a variable that the configuration defines; a later definition replaces the earlier, and `set` none.
    pub fn define(&mut self, name: &str, definition: Definition, span: Span) -> VariableId {
        let id = self.intern(name);
        let named = &mut self.list[usize::from(id.0)];
        if named.definition.is_none() || !matches!(definition, Definition::Assigned) {
            named.definition = Some(definition);
        }
        if named.defined.is_none() {
            named.defined = Some(span);
            named.defined_as = (named.name != name).then(|| name.into());
        }
        id
    }

    pub fn list(&self) -> &[Named] {
        &self.list
    }

    fn intern(&mut self, name: &str) -> VariableId {
        let name = name.to_ascii_lowercase();
        *self.by_name.entry(name).or_insert_with_key(|name| {
            self.list.push(Named {
                name: name.clone(),
                used: None,
                definition: None,
                defined: None,
                defined_as: None,
            });
            VariableId(u16::try_from(self.list.len() - 1).expect("fewer than 65,536 variables"))
        })
    }
}
