//! What a module is: directives, variables and settings, declared as tables that the loader, `-t`, `-V`
//! and the manual all read.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use daemun_conf as conf;

use crate::load::{Fault, Loader};
use crate::setting::Inherit;

bitflags::bitflags! {
    /// Where a directive may stand.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Contexts: u32 {
        const MAIN = 1;
        const EVENTS = 1 << 1;
        const HTTP = 1 << 2;
        const SERVER = 1 << 3;
        const LOCATION = 1 << 4;
        const SERVER_IF = 1 << 5;
        const LOCATION_IF = 1 << 6;
        const LIMIT_EXCEPT = 1 << 7;
        const UPSTREAM = 1 << 8;
        const MPM = 1 << 9;

        const HTTP_SERVER = Self::HTTP.bits() | Self::SERVER.bits();
        const HTTP_SERVER_LOCATION = Self::HTTP_SERVER.bits() | Self::LOCATION.bits();
        const HTTP_TO_IF = Self::HTTP_SERVER_LOCATION.bits() | Self::LOCATION_IF.bits();
    }
}

/// How many arguments a directive takes, and whether a block follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// One argument: `on` or `off`.
    Flag,
    Exactly(usize),
    Between(usize, usize),
    AtLeast(usize),
    /// A block, after between so and so many arguments.
    Block(usize, usize),
    /// As `Block`, or without one.
    OptionalBlock(usize, usize),
}

impl Arguments {
    pub fn accepts(self, count: usize) -> bool {
        match self {
            Arguments::Flag => count == 1,
            Arguments::Exactly(n) => count == n,
            Arguments::Between(least, most)
            | Arguments::Block(least, most)
            | Arguments::OptionalBlock(least, most) => (least..=most).contains(&count),
            Arguments::AtLeast(least) => count >= least,
        }
    }

    pub fn is_block(self) -> bool {
        matches!(self, Arguments::Block(..))
    }

    pub fn may_be_block(self) -> bool {
        self.is_block() || matches!(self, Arguments::OptionalBlock(..))
    }
}

/// What a directive does once it is read.
#[derive(Clone, Copy)]
pub enum Action {
    /// Records the value; the building comes later.
    Set(fn(&mut Loader<'_>, &conf::Directive) -> Result<(), Fault>),
    /// Its number of arguments is checked and that is all, for the reason given.
    Accepted(&'static str),
    /// Its arguments are checked and have no effect, for the reason given.
    Checked(fn(&conf::Directive) -> Result<(), Fault>, &'static str),
    /// As `Checked`, because the system has no such thing: there is a warning, as nginx has it.
    Unsupported(fn(&conf::Directive) -> Result<(), Fault>),
}

/// A row of a module's table: one directive.
pub struct Directive {
    pub name: &'static str,
    pub contexts: Contexts,
    pub arguments: Arguments,
    pub action: Action,
    /// As it would stand in the file; empty where there is none.
    pub default: &'static str,
    /// One sentence for the manual.
    pub help: &'static str,
}

/// A module without its protocol's part: what the loader has to know.
pub struct Module {
    /// As in `--with-NAME`, for example `http_autoindex_module`.
    pub name: &'static str,
    pub directives: &'static [Directive],
    /// Makes the settings of one block; `None` for a module that keeps none.
    pub settings: Option<&'static dyn SettingsKind>,
}

/// Settings of any module, as one block keeps them.
pub trait AnySettings: Any + Send + Sync {
    fn inherit_any(&mut self, outer: &dyn AnySettings);

    /// Those of a block inside that says nothing itself.
    fn of_silent_block(&self) -> Arc<dyn AnySettings>;
}

impl<T: Inherit + Default + Any + Send + Sync> AnySettings for T {
    fn inherit_any(&mut self, outer: &dyn AnySettings) {
        let outer: &dyn Any = outer;
        if let Some(outer) = outer.downcast_ref::<T>() {
            self.inherit(outer);
        }
    }

    fn of_silent_block(&self) -> Arc<dyn AnySettings> {
        let mut settings = T::default();
        settings.inherit(self);
        Arc::new(settings)
    }
}

/// A [`SettingsKey`] without its type.
pub trait SettingsKind: Sync {
    fn create(&self) -> Arc<dyn AnySettings>;
    fn assign(&self, position: usize);
}

/// The typed key to a module's settings in any block: `static SETTINGS: SettingsKey<Settings>`.
pub struct SettingsKey<T> {
    /// Position in every [`SettingsSet`], the same in all of them; assigned when the list of modules is read.
    position: AtomicUsize,
    kind: PhantomData<fn() -> T>,
}

impl<T> SettingsKey<T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        SettingsKey { position: AtomicUsize::new(usize::MAX), kind: PhantomData }
    }

    pub fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed)
    }
}

impl<T: Inherit + Default + Any + Send + Sync> SettingsKind for SettingsKey<T> {
    fn create(&self) -> Arc<dyn AnySettings> {
        Arc::new(T::default())
    }

    fn assign(&self, position: usize) {
        self.position.store(position, Ordering::Relaxed);
    }
}

/// The settings of all modules in one block.
///
/// Of a module whose directives a block has not, it has the settings that all such blocks share: first the defaults, and what
/// they inherit once that is known. Most blocks are silent about most modules.
pub struct SettingsSet {
    list: Box<[Arc<dyn AnySettings>]>,
    /// The modules that the block has settings of its own of, a bit each.
    own: [u64; 2],
}

/// The settings of every module where nobody has said anything.
pub struct Defaults(Vec<Arc<dyn AnySettings>>);

impl Defaults {
    pub fn new(kinds: &[&'static dyn SettingsKind]) -> Defaults {
        assert!(kinds.len() <= 128, "a bit for each module");
        Defaults(kinds.iter().map(|kind| kind.create()).collect())
    }
}

/// What silent blocks inherit, by the settings around them and the module's position.
#[derive(Default)]
pub struct Inheritance {
    all: HashMap<(*const (), usize), Arc<dyn AnySettings>>,
    /// What was found last, by the depth of the blocks and the position: blocks beside one another mostly have the same
    /// around them.
    recent: Vec<Vec<Option<Inherited>>>,
}

/// The address of the settings around, and what silent blocks have of them.
type Inherited = (*const (), Arc<dyn AnySettings>);

impl Inheritance {
    fn of(
        &mut self,
        outer: &Arc<dyn AnySettings>,
        position: usize,
        depth: usize,
    ) -> &Arc<dyn AnySettings> {
        // The settings around outlive this table, so that an address is theirs alone.
        let address = Arc::as_ptr(outer).cast::<()>();
        if self.recent.len() <= depth {
            self.recent.resize_with(depth + 1, Vec::new);
        }
        let recent = &mut self.recent[depth];
        if recent.len() <= position {
            recent.resize_with(position + 1, || None);
        }
        let recent = &mut recent[position];
        if recent.as_ref().is_none_or(|(known, _)| *known != address) {
            let found = self.all.entry((address, position));
            let found = found.or_insert_with(|| outer.of_silent_block());
            *recent = Some((address, Arc::clone(found)));
        }
        let (_, settings) = recent.as_ref().expect("what was just put there");
        settings
    }
}

impl SettingsSet {
    pub fn new(defaults: &Defaults) -> Self {
        SettingsSet { list: defaults.0.iter().cloned().collect(), own: [0; 2] }
    }

    fn is_own(&self, position: usize) -> bool {
        self.own[position / 64] & (1 << (position % 64)) != 0
    }

    /// Panics where the key's module is not in the list that made this set: a mistake in the program.
    pub fn of<T: Any>(&self, key: &SettingsKey<T>) -> &T {
        let settings: &dyn Any = &*self.list[key.position()];
        settings.downcast_ref().expect("a key fits its own position")
    }

    /// What [`of`](Self::of) finds, to be kept by whoever would look for it at every request.
    pub fn share<T: Any + Send + Sync>(&self, key: &SettingsKey<T>) -> Arc<T> {
        let settings: Arc<dyn Any + Send + Sync> = Arc::clone(&self.list[key.position()]) as _;
        settings.downcast().expect("a key fits its own position")
    }

    /// The block's own settings. Nobody changes them once they are shared, or inherited: they are complete by then.
    pub fn of_mut<T: Inherit + Default + Any + Send + Sync>(
        &mut self,
        key: &SettingsKey<T>,
    ) -> &mut T {
        let position = key.position();
        if !self.is_own(position) {
            self.own[position / 64] |= 1 << (position % 64);
            self.list[position] = key.create();
        }
        let settings: &mut dyn Any = unshared(&mut self.list[position]);
        settings.downcast_mut().expect("a key fits its own position")
    }

    /// `depth` tells blocks from those around them.
    pub fn inherit(&mut self, outer: &SettingsSet, known: &mut Inheritance, depth: usize) {
        for (position, outer) in outer.list.iter().enumerate() {
            if self.is_own(position) {
                unshared(&mut self.list[position]).inherit_any(&**outer);
                continue;
            }
            self.list[position] = Arc::clone(known.of(outer, position, depth));
        }
    }
}

fn unshared(settings: &mut Arc<dyn AnySettings>) -> &mut dyn AnySettings {
    Arc::get_mut(settings).expect("settings change only before they are shared")
}

/// A table of directives, a row each:
/// `"name" in CONTEXT | CONTEXT, arguments, default, action, "One sentence.";`
#[macro_export]
macro_rules! directives {
    ($($name:literal in $($context:ident)|+, $arguments:expr, $default:literal, $action:expr, $help:literal;)*) => {{
        use $crate::module::Arguments::*;
        use $crate::module::{Action, Contexts, Directive};
        &[$(Directive {
            name: $name,
            contexts: Contexts::empty()$(.union(Contexts::$context))+,
            arguments: $arguments,
            action: $action,
            default: $default,
            help: $help,
        },)*]
    }};
}
