//! Names and numbers of groups, and references back to them.

use super::{Item, Parser};
use crate::ast::Node;
use crate::error::Fault;

/// PCRE2's own limit on the bytes of a group's name.
const MAX_NAME: usize = 32;

/// What a back reference names.
pub(super) enum Target {
    Number(usize),
    Name(Vec<u8>),
}

impl Parser<'_> {
    /// A reference that is named at the offset `at`.
    pub(super) fn backreference(&mut self, target: Target, at: usize) -> Item {
        self.references.push((target, at));
        Item::repeatable(Node::Backreference {
            reference: self.references.len() - 1,
            caseless: self.flags.caseless,
        })
    }

    /// `\k<name>`, `\k'name'` and `\k{name}`.
    pub(super) fn named_reference(&mut self) -> Result<Item, Fault> {
        let close = match self.cursor.next() {
            Some(b'<') => b'>',
            Some(b'\'') => b'\'',
            Some(b'{') => b'}',
            _ => {
                let reason = "\\k is not followed by a braced, angle-bracketed, or quoted name";
                return Fault::syntax(reason, self.cursor.at());
            }
        };
        let start = self.cursor.at();
        let name = self.name(close)?;
        Ok(self.backreference(Target::Name(name), start))
    }

    /// `\g1`, `\g{1}`, `\g{-1}` and `\g{name}`; `\g<...>` and `\g'...'` call a group.
    pub(super) fn group_reference(&mut self) -> Result<Item, Fault> {
        let start = self.cursor.at();
        if matches!(self.cursor.peek(), Some(b'<' | b'\'')) {
            return Fault::unsupported("a subroutine call (\\g<...>)");
        }
        let is_braced = self.cursor.eat(b'{');
        let is_backward = self.cursor.eat(b'-');
        let is_forward = !is_backward && self.cursor.eat(b'+');
        let digits = self.cursor.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() && is_braced {
            self.cursor.back_to(start + 1);
            let name = self.name(b'}')?;
            return Ok(self.backreference(Target::Name(name), start + 1));
        }
        if digits.is_empty() || is_braced && !self.cursor.eat(b'}') {
            let reason = "\\g is not followed by a braced, angle-bracketed, or quoted name/number or by a plain number";
            return Fault::syntax(reason, start);
        }
        let number = decimal(digits);
        let (target, at) = match number {
            0 => (None, self.cursor.at()),
            _ if is_backward => ((self.group_count + 1).checked_sub(number), start),
            _ if is_forward => (self.group_count.checked_add(number), start),
            _ => (Some(number), self.cursor.at() - 1),
        };
        match target {
            Some(target @ 1..) => Ok(self.backreference(Target::Number(target), at)),
            _ => Fault::syntax("reference to non-existent subpattern", at),
        }
    }

    /// Reads a group's name and what closes it.
    pub(super) fn name(&mut self, close: u8) -> Result<Vec<u8>, Fault> {
        let start = self.cursor.at();
        if self.cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Fault::syntax("subpattern name must start with a non-digit", start);
        }
        let name = self.cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if name.is_empty() {
            return Fault::syntax("subpattern name expected", start);
        }
        if name.len() > MAX_NAME {
            return Fault::syntax(
                "subpattern name is too long (maximum 32 code units)",
                self.cursor.at(),
            );
        }
        if !self.cursor.eat(close) {
            return Fault::syntax(
                "syntax error in subpattern name (missing terminator?)",
                self.cursor.at(),
            );
        }
        Ok(name.to_vec())
    }

    /// The groups that the back references mean. References may come before their groups.
    pub(super) fn resolve_references(&self) -> Result<Vec<usize>, Fault> {
        let resolve = |(target, at): &(Target, usize)| {
            let number = match target {
                Target::Number(number) => {
                    Some(*number).filter(|&number| number <= self.group_count)
                }
                Target::Name(name) => self
                    .names
                    .iter()
                    .find(|(known, _)| known.as_bytes() == name)
                    .map(|&(_, number)| number),
            };
            match number {
                Some(number) => Ok(number),
                None => Fault::syntax("reference to non-existent subpattern", *at),
            }
        };
        self.references.iter().map(resolve).collect()
    }
}

fn decimal(digits: &[u8]) -> usize {
    digits.iter().fold(0, |value: usize, digit| {
        value.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    })
}
