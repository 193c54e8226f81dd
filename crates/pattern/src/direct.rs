//! Patterns that need no engine: at each place there is one way to go on, or none. Most of what locations are matched
//! with is of this kind: `^/api/v\d+/`, `\.(jpe?g|png)$` less its question mark, `^/user/(\w+)/(.*)$`.

use crate::ast::{Assertion, Ast, Greed, Node, Repeat};
use crate::byte_set::ByteSet;
use crate::matcher::Slot;

/// A pattern that is matched step by step and never goes back.
#[derive(Debug)]
pub(crate) struct Direct {
    steps: Box<[Step]>,
    start: Start,
    /// The match has to reach the end of the subject.
    to_end: bool,
}

#[derive(Debug)]
enum Step {
    Bytes(Box<[u8]>),
    /// As many bytes of a set as there are, within the bounds.
    Run {
        set: ByteSet,
        min: usize,
        max: usize,
    },
    /// One of these words, none of which can begin another.
    Words(Box<[Word]>),
    Open(usize),
    Close(usize),
}

/// What each byte has to be in.
type Word = Box<[ByteSet]>;

#[derive(Debug)]
enum Start {
    /// `^`
    OfSubject,
    /// So many bytes before the end: the pattern's least and greatest width.
    BeforeEnd { min: usize, max: usize },
}

/// Ends are tried at no more places than this.
const MOST_STARTS: usize = 16;

impl Direct {
    /// `None` where a choice could have to be taken back.
    pub(crate) fn new(ast: &Ast) -> Option<Direct> {
        let mut nodes = Vec::new();
        flatten(&ast.root, &mut nodes);
        let mut rest = &nodes[..];
        let is_anchored = matches!(rest.first(), Some(Flat::Node(Node::Assert(Assertion::Start))));
        if is_anchored {
            rest = &rest[1..];
        }
        let to_end = matches!(
            rest.last(),
            Some(Flat::Node(Node::Assert(Assertion::End | Assertion::EndOrLastNewline)))
        );
        if to_end {
            rest = &rest[..rest.len() - 1];
        }
        let steps = rest.iter().map(Flat::step).collect::<Option<Vec<_>>>()?;
        let steps = joined(steps);
        let start = match is_anchored {
            true => Start::OfSubject,
            false if to_end => before_end(&steps)?,
            false => return None,
        };
        let never_goes_back = (0..steps.len()).all(|at| settles(&steps[at], &steps[at + 1..]));
        never_goes_back.then(|| Direct { steps: steps.into(), start, to_end })
    }

    /// As [`Pattern::captures`](crate::Pattern::captures), for slots that are long enough.
    pub(crate) fn captures(&self, subject: &[u8], slots: &mut [Slot]) -> bool {
        let found = self.find(subject, |group, open, at| match open {
            true => slots[group] = Some((at, at)),
            false => slots[group] = slots[group].map(|(start, _)| (start, at)),
        });
        slots[0] = found;
        found.is_some()
    }

    pub(crate) fn is_match(&self, subject: &[u8]) -> bool {
        self.find(subject, |_, _, _| ()).is_some()
    }

    fn find(&self, subject: &[u8], mut mark: impl FnMut(usize, bool, usize)) -> Slot {
        let length = subject.len();
        let (first, last) = match self.start {
            Start::OfSubject => (0, 0),
            Start::BeforeEnd { min, max } => (length.saturating_sub(max), length.checked_sub(min)?),
        };
        (first..=last).find_map(|start| Some((start, self.follow(subject, start, &mut mark)?)))
    }

    /// Where the match ends that begins at `at`.
    fn follow(
        &self,
        subject: &[u8],
        mut at: usize,
        mark: &mut impl FnMut(usize, bool, usize),
    ) -> Option<usize> {
        for step in &self.steps {
            let rest = &subject[at..];
            at += match step {
                Step::Bytes(bytes) if rest.starts_with(bytes) => bytes.len(),
                Step::Bytes(_) => return None,
                Step::Run { set, min, max } => {
                    let most = rest.len().min(*max);
                    let other = rest[..most].iter().position(|&byte| !set.contains(byte));
                    other.or(Some(most)).filter(|count| count >= min)?
                }
                Step::Words(words) => words.iter().find(|word| begins(rest, word))?.len(),
                Step::Open(group) | Step::Close(group) => {
                    mark(*group, matches!(step, Step::Open(_)), at);
                    0
                }
            };
        }
        (!self.to_end || at == subject.len()).then_some(at)
    }
}

fn begins(subject: &[u8], word: &[ByteSet]) -> bool {
    word.len() <= subject.len() && word.iter().zip(subject).all(|(set, &byte)| set.contains(byte))
}

/// A pattern's parts in a row, groups opened and closed.
enum Flat<'n> {
    Node(&'n Node),
    Open(usize),
    Close(usize),
}

fn flatten<'n>(node: &'n Node, flat: &mut Vec<Flat<'n>>) {
    match node {
        Node::Empty => {}
        Node::Concat(nodes) => nodes.iter().for_each(|node| flatten(node, flat)),
        Node::Capture(group, node) => {
            flat.push(Flat::Open(*group));
            flatten(node, flat);
            flat.push(Flat::Close(*group));
        }
        node => flat.push(Flat::Node(node)),
    }
}

impl Flat<'_> {
    fn step(&self) -> Option<Step> {
        match self {
            Flat::Open(group) => Some(Step::Open(*group)),
            Flat::Close(group) => Some(Step::Close(*group)),
            Flat::Node(Node::Set(set)) => Some(one_of(*set)),
            Flat::Node(Node::Repeat(repeat)) => run(repeat),
            Flat::Node(Node::Alternate(branches)) => words(branches),
            Flat::Node(_) => None,
        }
    }
}

fn one_of(set: ByteSet) -> Step {
    match &*set.ranges() {
        [range] if range.start() == range.end() => Step::Bytes(Box::new([*range.start()])),
        _ => Step::Run { set, min: 1, max: 1 },
    }
}

fn run(repeat: &Repeat) -> Option<Step> {
    let Repeat { node, min, max, greed } = repeat;
    let Node::Set(set) = **node else { return None };
    let is_fixed = Some(*min) == *max;
    let max = max.map_or(usize::MAX, |max| max as usize);
    (*greed != Greed::Lazy || is_fixed).then_some(Step::Run { set, min: *min as usize, max })
}

fn words(branches: &[Node]) -> Option<Step> {
    let words = branches.iter().map(word).collect::<Option<Vec<_>>>()?;
    let is_told =
        |one: &Word, other: &Word| one.iter().zip(other).any(|(one, other)| !one.meets(*other));
    let pairs_differ = words
        .iter()
        .enumerate()
        .all(|(at, word)| words[at + 1..].iter().all(|other| is_told(word, other)));
    pairs_differ.then(|| Step::Words(words.into()))
}

fn word(branch: &Node) -> Option<Word> {
    let set = |node: &Node| match node {
        Node::Set(set) => Some(*set),
        _ => None,
    };
    match branch {
        Node::Concat(nodes) => nodes.iter().map(set).collect(),
        node => set(node).map(|set| Box::from([set])),
    }
}

/// Bytes that follow each other are compared at once.
fn joined(steps: Vec<Step>) -> Vec<Step> {
    let mut joined: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match (joined.last_mut(), step) {
            (Some(Step::Bytes(before)), Step::Bytes(bytes)) => {
                *before = [&**before, &*bytes].concat().into();
            }
            (_, step) => joined.push(step),
        }
    }
    joined
}

/// Where a pattern may begin that reaches the end and has a width.
fn before_end(steps: &[Step]) -> Option<Start> {
    let (mut min, mut max) = (0usize, 0usize);
    for step in steps {
        let (least, most) = step.width();
        min = min.checked_add(least)?;
        max = max.checked_add(most)?;
    }
    (max - min < MOST_STARTS).then_some(Start::BeforeEnd { min, max })
}

/// Whether taking as much as there is can't be wrong: what follows can't begin with what was taken.
fn settles(step: &Step, rest: &[Step]) -> bool {
    let Step::Run { set, min, max } = step else { return true };
    min == max || !follows(rest).is_some_and(|next| next.meets(*set))
}

/// What the next byte may be; `None` where nothing has to follow, or only the end.
fn follows(steps: &[Step]) -> Option<ByteSet> {
    let mut next = ByteSet::default();
    for step in steps {
        let (first, is_optional) = match step {
            Step::Open(_) | Step::Close(_) => continue,
            Step::Bytes(bytes) => (ByteSet::of(&bytes[..1]), false),
            Step::Run { set, min, .. } => (*set, *min == 0),
            Step::Words(words) => {
                let firsts = words.iter().filter_map(|word| word.first());
                (firsts.fold(ByteSet::default(), |all, first| all.union(*first)), false)
            }
        };
        next = next.union(first);
        if !is_optional {
            break;
        }
    }
    (next != ByteSet::default()).then_some(next)
}

impl Step {
    /// The fewest and the most bytes that it takes.
    fn width(&self) -> (usize, usize) {
        match self {
            Step::Bytes(bytes) => (bytes.len(), bytes.len()),
            Step::Run { min, max, .. } => (*min, *max),
            Step::Words(words) => {
                let lengths = || words.iter().map(|word| word.len());
                (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
            }
            Step::Open(_) | Step::Close(_) => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn is_direct(pattern: &str) -> bool {
        Direct::new(&parse(pattern.as_bytes(), false).unwrap()).is_some()
    }

    #[test]
    fn usual_patterns_of_locations_are_direct() {
        for pattern in [
            r"\.php$",
            r"^/r/(\d+)$",
            r"^/(.*)$",
            r"^/user/(?<name>\w+)/(.*)",
            r"\.(?:jpg|jpeg|png|gif)$",
            r"^/(en|de|fr)/",
            r"/\.ht",
            r"^/api/v\d{1,2}/",
        ] {
            assert_eq!(is_direct(pattern), pattern != r"/\.ht", "{pattern}");
        }
    }

    #[test]
    fn what_may_have_to_go_back_is_left_to_an_engine() {
        for pattern in [
            r"^/(.*)\.php$",
            r"^/(a|ab)c",
            r"^/\w*\d",
            r"^/a?ab",
            r"^/a*?b",
            r"(\d+)$",
            r"^/(x)?y",
            r"^(?!/a)",
            r"\bfoo$",
        ] {
            assert!(!is_direct(pattern), "{pattern}");
        }
    }

    #[test]
    fn the_match_that_begins_first_is_found() {
        let direct = Direct::new(&parse(br"(?:a|ba)x?$", false).unwrap()).unwrap();
        let mut slots = [None];
        assert!(direct.captures(b"-bax", &mut slots));
        assert_eq!(slots, [Some((1, 4))]);
        assert!(!direct.captures(b"-bay", &mut slots));
    }
}
