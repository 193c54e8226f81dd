//! A compiled pattern, and how it is matched.

use std::sync::OnceLock;

use regex_automata::Input;
use regex_automata::meta;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;

use crate::ast::Ast;
use crate::direct::Direct;
use crate::error::{Error, Fault, StepLimit};
use crate::parse::parse;
use crate::print::{Engine, Printed, print};

/// How often the backtracking engine may go back on one subject.
const STEP_LIMIT: usize = 1_000_000;
/// Bytes of a compiled pattern: the limit of the crate `regex`.
const SIZE_LIMIT: usize = 10 << 20;
/// Groups whose places fit the stack; more need an allocation at each match.
const GROUPS_ON_STACK: usize = 16;

/// A regular expression in PCRE2's syntax, on bytes.
#[derive(Debug)]
pub struct Pattern {
    engine: Matcher,
    last_newline: Option<LastNewline>,
    group_count: usize,
    names: Vec<(String, usize)>,
}

/// Byte offsets of a group in the subject: start and end.
pub type Slot = Option<(usize, usize)>;

impl Pattern {
    /// Compiles a pattern as nginx does: without UTF, `caseless` for `~*`.
    pub fn compile(pattern: &[u8], caseless: bool) -> Result<Pattern, Error> {
        let fault = |fault: Fault| Error::new(&fault, pattern);
        let ast = parse(pattern, caseless).map_err(fault)?;
        let engine = Matcher::new(&ast).map_err(fault)?;
        let is_backtracking = matches!(engine, Matcher::Backtracking(_));
        let last_newline = (!is_backtracking && ast.root.minds_last_newline())
            .then(|| LastNewline::new(print(&ast, Engine::Backtracking)));
        Ok(Pattern { engine, last_newline, group_count: ast.group_count, names: ast.names })
    }

    pub fn is_match(&self, subject: &[u8]) -> Result<bool, StepLimit> {
        if let Some(backtracking) = self.for_last_newline(subject)? {
            return backtracking.is_match(subject);
        }
        match &self.engine {
            Matcher::Direct(direct) => Ok(direct.is_match(subject)),
            Matcher::Linear(linear) => Ok(linear.regex.is_match(subject)),
            Matcher::Backtracking(backtracking) => backtracking.is_match(subject),
        }
    }

    /// Finds the first match. Where there is one, `slots` becomes the places of the whole match and of all groups.
    pub fn captures(&self, subject: &[u8], slots: &mut Vec<Slot>) -> Result<bool, StepLimit> {
        slots.clear();
        slots.resize(self.group_count + 1, None);
        if let Some(backtracking) = self.for_last_newline(subject)? {
            return backtracking.captures(subject, slots);
        }
        match &self.engine {
            Matcher::Direct(direct) => Ok(direct.captures(subject, slots)),
            Matcher::Linear(linear) => Ok(linear.captures(subject, slots)),
            Matcher::Backtracking(backtracking) => backtracking.captures(subject, slots),
        }
    }

    /// The named groups with their numbers, in the order of the numbers.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// The number of capture groups, without the whole match.
    pub fn group_count(&self) -> usize {
        self.group_count
    }

    /// What stands in for the pattern's own engine where the subject's last newline matters.
    fn for_last_newline(&self, subject: &[u8]) -> Result<Option<&Backtracking>, StepLimit> {
        match &self.last_newline {
            Some(last_newline) if subject.ends_with(b"\n") => last_newline.engine().map(Some),
            _ => Ok(None),
        }
    }
}

#[derive(Debug)]
enum Matcher {
    Direct(Direct),
    Linear(Linear),
    Backtracking(Backtracking),
}

impl Matcher {
    fn new(ast: &Ast) -> Result<Matcher, Fault> {
        if let Some(direct) = Direct::new(ast) {
            return Ok(Matcher::Direct(direct));
        }
        match ast.root.is_linear() {
            true => Linear::new(ast).map(Matcher::Linear),
            false => Backtracking::new(print(ast, Engine::Backtracking)).map(Matcher::Backtracking),
        }
    }
}

/// For subjects that end in a newline, where the pattern minds that newline: a linear engine cannot look ahead to the
/// end. Such subjects hardly occur, so this is compiled when the first one comes.
#[derive(Debug)]
struct LastNewline {
    printed: Printed,
    compiled: OnceLock<Option<Backtracking>>,
}

impl LastNewline {
    fn new(printed: Printed) -> LastNewline {
        LastNewline { printed, compiled: OnceLock::new() }
    }

    fn engine(&self) -> Result<&Backtracking, StepLimit> {
        let compile = || Backtracking::new(self.printed.clone()).ok();
        self.compiled.get_or_init(compile).as_ref().ok_or(StepLimit)
    }
}

/// Matches in linear time.
#[derive(Debug)]
struct Linear {
    regex: meta::Regex,
    groups: Vec<usize>,
}

impl Linear {
    fn new(ast: &Ast) -> Result<Linear, Fault> {
        let printed = print(ast, Engine::Linear);
        let regex = meta::Regex::builder()
            .configure(meta::Config::new().utf8_empty(false).nfa_size_limit(Some(SIZE_LIMIT)))
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(u32::MAX))
            .build(&printed.pattern)
            .map_err(|_| too_large())?;
        Ok(Linear { regex, groups: printed.groups })
    }

    fn captures(&self, subject: &[u8], slots: &mut [Slot]) -> bool {
        let needed = 2 * (self.groups.len() + 1);
        let mut on_stack = [None; 2 * (GROUPS_ON_STACK + 1)];
        let mut on_heap = Vec::new();
        let found: &mut [Option<NonMaxUsize>] = match on_stack.get_mut(..needed) {
            Some(found) => found,
            None => {
                on_heap.resize(needed, None);
                &mut on_heap
            }
        };
        if self.regex.search_slots(&Input::new(subject), found).is_none() {
            return false;
        }
        let place = |group: usize| Some((found[2 * group]?.get(), found[2 * group + 1]?.get()));
        slots[0] = place(0);
        for (index, &group) in self.groups.iter().enumerate() {
            slots[group] = place(index + 1);
        }
        true
    }
}

/// Matches what only backtracking can, within [`STEP_LIMIT`].
#[derive(Debug)]
struct Backtracking {
    regex: fancy_regex::Regex,
    groups: Vec<usize>,
}

impl Backtracking {
    fn new(printed: Printed) -> Result<Backtracking, Fault> {
        // Without its optimiser, the engine runs what was printed, loop by loop.
        let regex = fancy_regex::RegexBuilder::new(&printed.pattern)
            .bytes_mode(fancy_regex::BytesMode::Ascii)
            .backtrack_limit(STEP_LIMIT)
            .delegate_size_limit(SIZE_LIMIT)
            .optimize(false)
            .build()
            .map_err(|_| too_large())?;
        Ok(Backtracking { regex, groups: printed.groups })
    }

    fn is_match(&self, subject: &[u8]) -> Result<bool, StepLimit> {
        self.regex.is_match(subject).map_err(|_| StepLimit)
    }

    fn captures(&self, subject: &[u8], slots: &mut [Slot]) -> Result<bool, StepLimit> {
        let Some(found) = self.regex.captures(subject).map_err(|_| StepLimit)? else {
            return Ok(false);
        };
        let place = |group: usize| found.get(group).map(|found| (found.start(), found.end()));
        slots[0] = place(0);
        for (index, &group) in self.groups.iter().enumerate() {
            slots[group] = place(index + 1);
        }
        Ok(true)
    }
}

/// What was printed is well-formed, so an engine refuses it for its size alone.
fn too_large() -> Fault {
    Fault::Unsupported { construct: "a pattern of this size".to_owned() }
}
