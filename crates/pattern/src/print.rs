//! The syntax tree in an engine's syntax.

use std::fmt::Write;

use crate::ast::{Assertion, Ast, Direction, Greed, Node, Repeat};
use crate::byte_set::ByteSet;

/// Who is to read the pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The subject must not end in a newline where the pattern minds that.
    Linear,
    Backtracking,
}

/// A pattern in an engine's syntax. Bytes are written as `\xHH`.
#[derive(Clone, Debug)]
pub(crate) struct Printed {
    pub(crate) pattern: String,
    /// PCRE2's numbers of the engine's groups 1, 2, and so on. Groups that can never match are not printed.
    pub(crate) groups: Vec<usize>,
}

pub(crate) fn print(ast: &Ast, engine: Engine) -> Printed {
    let mut groups = Vec::new();
    printed_groups(&ast.root, &mut groups);
    let mut printer = Printer { ast, engine, groups: &groups, out: String::new() };
    printer.node(&ast.root);
    Printed { pattern: printer.out, groups }
}

/// Collects the groups outside of `{0}`, in the order of their opening brackets.
fn printed_groups(node: &Node, groups: &mut Vec<usize>) {
    match node {
        Node::Capture(number, node) => {
            groups.push(*number);
            printed_groups(node, groups);
        }
        Node::Concat(nodes) | Node::Alternate(nodes) => {
            nodes.iter().for_each(|node| printed_groups(node, groups))
        }
        Node::Repeat(repeat) if repeat.max != Some(0) => printed_groups(&repeat.node, groups),
        Node::Atomic(node) | Node::Around { node, .. } => printed_groups(node, groups),
        Node::Repeat(_)
        | Node::Empty
        | Node::Set(_)
        | Node::Assert(_)
        | Node::Backreference { .. }
        | Node::Keep => {}
    }
}

struct Printer<'a> {
    ast: &'a Ast,
    engine: Engine,
    groups: &'a [usize],
    out: String,
}

impl Printer<'_> {
    fn node(&mut self, node: &Node) {
        match node {
            Node::Empty => {}
            Node::Set(set) => self.set(set),
            Node::Assert(assertion) => self.assertion(*assertion),
            Node::Capture(_, node) => self.wrapped("(", node),
            Node::Concat(nodes) => nodes.iter().for_each(|node| self.node(node)),
            Node::Alternate(nodes) => self.alternatives(nodes),
            Node::Repeat(repeat) => self.repeat(repeat),
            Node::Atomic(node) => self.wrapped("(?>", node),
            Node::Around { direction: Direction::Ahead, negated, node } => {
                self.wrapped(if *negated { "(?!" } else { "(?=" }, node)
            }
            Node::Around { direction: Direction::Behind, negated, node } => {
                self.behind(*negated, node)
            }
            Node::Backreference { reference, caseless } => {
                self.backreference(self.ast.references[*reference], *caseless)
            }
            Node::Keep => self.out.push_str("\\K"),
        }
    }

    fn wrapped(&mut self, open: &str, node: &Node) {
        self.out.push_str(open);
        self.node(node);
        self.out.push(')');
    }

    fn alternatives(&mut self, nodes: &[Node]) {
        self.out.push_str("(?:");
        for (index, node) in nodes.iter().enumerate() {
            if index > 0 {
                self.out.push('|');
            }
            self.node(node);
        }
        self.out.push(')');
    }

    fn set(&mut self, set: &ByteSet) {
        let ranges = set.ranges();
        match &ranges[..] {
            [] => self.out.push_str("[^\\x00-\\xff]"),
            [one] if one.start() == one.end() => self.byte(*one.start()),
            ranges => {
                self.out.push('[');
                for range in ranges {
                    self.byte(*range.start());
                    self.out.push('-');
                    self.byte(*range.end());
                }
                self.out.push(']');
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        if byte.is_ascii_alphanumeric() {
            self.out.push(char::from(byte));
        } else {
            let _ = write!(self.out, "\\x{byte:02x}");
        }
    }

    fn assertion(&mut self, assertion: Assertion) {
        let spelled = match (assertion, self.engine) {
            (Assertion::Start, _) => "\\A",
            (Assertion::End, _) | (Assertion::EndOrLastNewline, Engine::Linear) => "\\z",
            (Assertion::EndOrLastNewline, Engine::Backtracking) => "(?=\\x0a?\\z)",
            (Assertion::LineStart, Engine::Linear) => "(?m:^)",
            (Assertion::LineStart, Engine::Backtracking) => "(?:\\A|(?<=\\x0a)(?!\\z))",
            (Assertion::LineEnd, Engine::Linear) => "(?m:$)",
            (Assertion::LineEnd, Engine::Backtracking) => "(?=\\x0a|\\z)",
            (Assertion::WordBoundary, _) => "\\b",
            (Assertion::NoWordBoundary, _) => "\\B",
        };
        self.out.push_str(spelled);
    }

    fn repeat(&mut self, repeat: &Repeat) {
        if repeat.max == Some(0) {
            return;
        }
        // What is of no width gives the same answer at every turn, so it is asked once, or perhaps not at all.
        if repeat.node.is_zero_width() {
            return match repeat.min {
                0 => self.perhaps(repeat),
                _ => self.node(&repeat.node),
            };
        }
        let is_possessive = repeat.greed == Greed::Possessive;
        self.out.push_str(if is_possessive { "(?>(?:" } else { "(?:(?:" });
        if repeat.may_stall() {
            // An empty lookahead keeps the loop in the backtracking engine's own hands: plain parts it hands on to a linear one.
            self.out.push_str("(?=)");
        }
        self.node(&repeat.node);
        self.out.push(')');
        let _ = match repeat.max {
            Some(max) => write!(self.out, "{{{},{max}}}", repeat.min),
            None => write!(self.out, "{{{},}}", repeat.min),
        };
        if repeat.greed == Greed::Lazy {
            self.out.push('?');
        }
        self.out.push(')');
    }

    /// Once or not at all, as two branches: the backtracking engine takes no quantifier after what is of no width.
    fn perhaps(&mut self, repeat: &Repeat) {
        let (first, second) = match repeat.greed {
            Greed::Lazy => (&Node::Empty, &*repeat.node),
            Greed::Greedy | Greed::Possessive => (&*repeat.node, &Node::Empty),
        };
        self.out.push_str(if repeat.greed == Greed::Possessive { "(?>" } else { "(?:" });
        self.node(first);
        self.out.push('|');
        self.node(second);
        self.out.push(')');
    }

    /// The branches of a lookbehind may differ in length, so each gets its own.
    fn behind(&mut self, negated: bool, node: &Node) {
        if negated {
            return node.branches().iter().for_each(|branch| self.wrapped("(?<!", branch));
        }
        self.out.push_str("(?:");
        for (index, branch) in node.branches().iter().enumerate() {
            if index > 0 {
                self.out.push('|');
            }
            self.wrapped("(?<=", branch);
        }
        self.out.push(')');
    }

    fn backreference(&mut self, group: usize, caseless: bool) {
        let Some(printed) = self.groups.iter().position(|&number| number == group) else {
            return self.out.push_str("(?!)");
        };
        let number = printed + 1;
        // The brackets keep a digit that follows out of the number.
        let _ = match caseless {
            true => write!(self.out, "(?i:\\{number})"),
            false => write!(self.out, "(?:\\{number})"),
        };
    }
}
