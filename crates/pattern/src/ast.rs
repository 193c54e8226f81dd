//! A pattern taken apart, and what can be told about it without matching.

use std::slice;

use crate::byte_set::ByteSet;

/// A parsed pattern. Flags, escapes, quotes and cases are resolved; what stays is what an engine has to do.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Empty,
    /// One byte.
    Set(ByteSet),
    Assert(Assertion),
    Capture(usize, Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat(Repeat),
    /// `(?>...)`: what it matched first stays.
    Atomic(Box<Node>),
    Around {
        direction: Direction,
        negated: bool,
        node: Box<Node>,
    },
    /// An index into [`Ast::references`].
    Backreference {
        reference: usize,
        caseless: bool,
    },
    /// `\K`: the match starts here.
    Keep,
}

#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) node: Box<Node>,
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
    pub(crate) greed: Greed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greed {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ahead,
    Behind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assertion {
    /// `\A`, `^`, and `\G`, since matching always starts where the subject does.
    Start,
    /// `\z`.
    End,
    /// `$` and `\Z`: the end, or before a newline that is the last byte.
    EndOrLastNewline,
    /// `(?m)^`: after a newline too, unless it is the last byte.
    LineStart,
    /// `(?m)$`.
    LineEnd,
    WordBoundary,
    NoWordBoundary,
}

/// A parsed pattern with its groups.
#[derive(Debug)]
pub(crate) struct Ast {
    pub(crate) root: Node,
    /// Capture groups, without the whole match.
    pub(crate) group_count: usize,
    pub(crate) names: Vec<(String, usize)>,
    /// The group that each back reference means.
    pub(crate) references: Vec<usize>,
}

impl Node {
    /// A linear-time engine finds exactly what PCRE2 finds, as long as the subject does not end in a newline.
    pub(crate) fn is_linear(&self) -> bool {
        let node_is_linear = match self {
            Node::Repeat(repeat) => repeat.greed != Greed::Possessive && !repeat.may_stall(),
            Node::Atomic(_) | Node::Around { .. } | Node::Backreference { .. } | Node::Keep => {
                false
            }
            _ => true,
        };
        node_is_linear && self.children().iter().all(Node::is_linear)
    }

    /// A newline that ends the subject may change what matches.
    pub(crate) fn minds_last_newline(&self) -> bool {
        matches!(self, Node::Assert(Assertion::EndOrLastNewline | Assertion::LineStart))
            || self.children().iter().any(Node::minds_last_newline)
    }

    /// It only looks, and so gives the same answer at every turn of a loop.
    pub(crate) fn is_zero_width(&self) -> bool {
        match self {
            Node::Around { .. } | Node::Assert(_) | Node::Keep | Node::Empty => true,
            Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().all(Node::is_zero_width),
            Node::Repeat(repeat) => repeat.max == Some(0) || repeat.node.is_zero_width(),
            Node::Set(_) | Node::Capture(..) | Node::Atomic(_) | Node::Backreference { .. } => {
                false
            }
        }
    }

    /// It can match without taking a byte.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            Node::Set(_) => false,
            Node::Capture(_, node) | Node::Atomic(node) => node.is_nullable(),
            Node::Concat(nodes) => nodes.iter().all(Node::is_nullable),
            Node::Alternate(nodes) => nodes.iter().any(Node::is_nullable),
            Node::Repeat(repeat) => repeat.min == 0 || repeat.node.is_nullable(),
            // The group that is referred to may have matched nothing.
            Node::Backreference { .. } => true,
            Node::Empty | Node::Assert(_) | Node::Around { .. } | Node::Keep => true,
        }
    }

    /// How many bytes it takes, if that is always the same number. This is what PCRE2 asks of a branch of a lookbehind.
    pub(crate) fn fixed_width(&self) -> Option<u64> {
        match self {
            Node::Empty | Node::Assert(_) | Node::Around { .. } | Node::Keep => Some(0),
            Node::Set(_) => Some(1),
            Node::Capture(_, node) | Node::Atomic(node) => node.fixed_width(),
            Node::Concat(nodes) => nodes.iter().map(Node::fixed_width).sum(),
            Node::Alternate(nodes) => {
                let first = nodes[0].fixed_width()?;
                nodes.iter().all(|node| node.fixed_width() == Some(first)).then_some(first)
            }
            Node::Repeat(repeat) if repeat.node.is_zero_width() && repeat.max.is_some() => Some(0),
            Node::Repeat(repeat) if repeat.max == Some(repeat.min) => {
                Some(repeat.node.fixed_width()?.saturating_mul(u64::from(repeat.min)))
            }
            Node::Repeat(_) | Node::Backreference { .. } => None,
        }
    }

    pub(crate) fn has_backreference(&self) -> bool {
        matches!(self, Node::Backreference { .. })
            || self.children().iter().any(Node::has_backreference)
    }

    /// There is a `\K` in a lookaround.
    pub(crate) fn has_keep_around(&self) -> bool {
        matches!(self, Node::Around { node, .. } if node.has_keep())
            || self.children().iter().any(Node::has_keep_around)
    }

    fn has_keep(&self) -> bool {
        matches!(self, Node::Keep) || self.children().iter().any(Node::has_keep)
    }

    pub(crate) fn children(&self) -> &[Node] {
        match self {
            Node::Concat(nodes) | Node::Alternate(nodes) => nodes,
            Node::Capture(_, node) | Node::Atomic(node) | Node::Around { node, .. } => {
                slice::from_ref(node)
            }
            Node::Repeat(repeat) => slice::from_ref(&repeat.node),
            Node::Empty
            | Node::Set(_)
            | Node::Assert(_)
            | Node::Backreference { .. }
            | Node::Keep => &[],
        }
    }

    /// The alternatives at the top of the node.
    pub(crate) fn branches(&self) -> &[Node] {
        match self {
            Node::Alternate(nodes) => nodes,
            node => slice::from_ref(node),
        }
    }
}

impl Repeat {
    /// It has no upper bound and may take nothing. PCRE2 leaves such a loop after a turn that took nothing, which decides
    /// what follows and what was captured; a linear engine does not know turns.
    pub(crate) fn may_stall(&self) -> bool {
        self.max.is_none() && self.node.is_nullable()
    }
}
