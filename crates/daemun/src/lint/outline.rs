//! The files' blocks with what stands around them, as rules ask for it.

use daemun_conf::{Directive, Word};

/// Every block of a configuration; the first is the whole of it.
pub struct Outline<'t> {
    entries: Vec<Entry<'t>>,
}

struct Entry<'t> {
    opener: Option<&'t Directive>,
    directives: &'t [Directive],
    outer: Option<usize>,
}

/// A block of an [`Outline`].
#[derive(Clone, Copy)]
pub struct Scope<'o> {
    outline: &'o Outline<'o>,
    index: usize,
}

impl<'t> Outline<'t> {
    pub fn of(directives: &'t [Directive]) -> Outline<'t> {
        let mut outline = Outline { entries: Vec::new() };
        outline.add(None, directives, None);
        outline
    }

    fn add(
        &mut self,
        opener: Option<&'t Directive>,
        directives: &'t [Directive],
        outer: Option<usize>,
    ) {
        let index = self.entries.len();
        self.entries.push(Entry { opener, directives, outer });
        for directive in directives {
            if let Some(block) = &directive.block {
                self.add(Some(directive), &block.directives, Some(index));
            }
        }
    }

    pub fn main(&self) -> Scope<'_> {
        Scope { outline: self, index: 0 }
    }

    /// All blocks, in the order of the text.
    pub fn scopes(&self) -> impl Iterator<Item = Scope<'_>> {
        (0..self.entries.len()).map(|index| Scope { outline: self, index })
    }

    /// All blocks that a directive of this name opens.
    pub fn blocks(&self, name: &'static str) -> impl Iterator<Item = Scope<'_>> {
        self.scopes().filter(move |scope| scope.name() == name)
    }
}

impl<'o> Scope<'o> {
    fn entry(self) -> &'o Entry<'o> {
        &self.outline.entries[self.index]
    }

    /// The directive that opens it; `None` for the outermost.
    pub fn opener(self) -> Option<&'o Directive> {
        self.entry().opener
    }

    /// The name of the directive that opens it; empty for the outermost.
    pub fn name(self) -> &'o str {
        self.opener().and_then(|opener| opener.name.as_str().ok()).unwrap_or_default()
    }

    /// The words between its name and its brace.
    pub fn arguments(self) -> &'o [Word] {
        self.opener().map_or(&[], |opener| &opener.args)
    }

    pub fn directives(self) -> &'o [Directive] {
        self.entry().directives
    }

    pub fn outer(self) -> Option<Scope<'o>> {
        Some(Scope { index: self.entry().outer?, ..self })
    }

    /// Whether it is the same place.
    pub fn is(self, other: Scope<'_>) -> bool {
        self.index == other.index
    }

    /// This block and those around it, innermost first.
    pub fn outwards(self) -> impl Iterator<Item = Scope<'o>> {
        std::iter::successors(Some(self), |scope| scope.outer())
    }

    /// The blocks right inside.
    pub fn inner(self) -> impl Iterator<Item = Scope<'o>> {
        self.outline.scopes().filter(move |scope| scope.entry().outer == Some(self.index))
    }

    /// This block and all inside, however deep.
    pub fn with_inner(self) -> impl Iterator<Item = Scope<'o>> {
        let is_here =
            move |scope: &Scope<'o>| scope.outwards().any(|around| around.index == self.index);
        self.outline.scopes().filter(is_here)
    }

    /// All blocks of the configuration.
    pub fn everywhere(self) -> impl Iterator<Item = Scope<'o>> {
        self.outline.scopes()
    }

    /// The server that it is, or is in.
    pub fn server(self) -> Option<Scope<'o>> {
        self.outwards().find(|scope| scope.name() == "server")
    }

    /// Its own directives of that name.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'o Directive> {
        self.directives().iter().filter(move |directive| directive.name == *name)
    }

    pub fn has(self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Those that count here of directives that a block inherits unless it has some of them itself.
    pub fn in_force(self, names: &[&str]) -> Vec<&'o Directive> {
        let own = |scope: Scope<'o>| -> Vec<&'o Directive> {
            let named = |directive: &&Directive| names.iter().any(|name| directive.name == *name);
            scope.directives().iter().filter(named).collect()
        };
        self.outwards().map(own).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The first argument of the directive that counts here.
    pub fn value(self, name: &str) -> Option<&'o Word> {
        self.in_force(&[name]).last()?.args.first()
    }
}
