//! The loader: walks a parsed configuration, finds each directive's row, checks it and lets it record its value.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemun_conf as conf;
use daemun_conf::{Diagnostics, Span};
use daemun_pattern::Pattern;

use crate::known;
use crate::log::OpenFiles;
use crate::module::{
    Action, Contexts, Defaults, Directive, Inheritance, Module, SettingsKey, SettingsKind,
    SettingsSet,
};
use crate::named_pattern::NamedPattern;
use crate::script::{Definition, Script, Variables};
use crate::setting::Inherit;

/// Why a directive was refused. The place is the directive's, or the argument's where one is named.
#[derive(Debug)]
pub struct Fault {
    message: Message,
    span: Option<Span>,
    help: Option<String>,
}

#[derive(Debug)]
enum Message {
    /// Completed to `"NAME" directive REASON`.
    Reason(&'static str),
    Sentence(String),
}

impl Fault {
    pub fn at(mut self, span: Span) -> Fault {
        self.span = Some(span);
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Fault {
        Fault { message: Message::Reason(reason), span: None, help: None }
    }
}

impl From<String> for Fault {
    fn from(sentence: String) -> Fault {
        Fault { message: Message::Sentence(sentence), span: None, help: None }
    }
}

/// Every directive of a list of modules, by name.
pub struct Registry {
    rows: HashMap<&'static str, Vec<&'static Directive>>,
    settings: Vec<&'static dyn SettingsKind>,
    modules: Vec<&'static str>,
}

impl Registry {
    pub fn new(modules: impl IntoIterator<Item = &'static Module>) -> Registry {
        let mut registry =
            Registry { rows: HashMap::new(), settings: Vec::new(), modules: Vec::new() };
        for module in modules {
            registry.modules.push(module.name);
            for row in module.directives {
                registry.rows.entry(row.name).or_default().push(row);
            }
            if let Some(kind) = module.settings {
                kind.assign(registry.settings.len());
                registry.settings.push(kind);
            }
        }
        registry
    }
}

/// A block that was read: its settings and the blocks inside it, in the file's order.
pub struct Block {
    pub context: Contexts,
    /// The words before the brace; `None` for the outermost block.
    pub header: Option<conf::Directive>,
    pub settings: SettingsSet,
    pub children: Vec<Block>,
}

impl Block {
    /// Hands every setting down that an inner block leaves open.
    pub fn inherit(&mut self) {
        self.hand_down(&mut Inheritance::default(), 0);
    }

    fn hand_down(&mut self, known: &mut Inheritance, depth: usize) {
        for child in &mut self.children {
            child.settings.inherit(&self.settings, known, depth);
            child.hand_down(known, depth + 1);
        }
    }

    pub fn span(&self) -> Option<Span> {
        self.header.as_ref().map(|header| header.name.span)
    }
}

/// Where relative paths lead: `-p` for files to serve and to write, the configuration's folder for those to read.
#[derive(Clone, Debug)]
pub struct Paths {
    pub prefix: PathBuf,
    pub conf: PathBuf,
}

impl Paths {
    pub fn in_prefix(&self, path: impl AsRef<Path>) -> PathBuf {
        self.prefix.join(path)
    }

    pub fn in_conf(&self, path: impl AsRef<Path>) -> PathBuf {
        self.conf.join(path)
    }
}

/// What a directive's action works on: the block being read and what all blocks share.
pub struct Loader<'a> {
    pub paths: Paths,
    pub variables: Variables,
    /// The files that `error_log` and `access_log` name; opened once the configuration is known to be good.
    pub log_files: &'a OpenFiles,
    pub diagnostics: &'a mut Diagnostics,
    registry: &'a Registry,
    defaults: Defaults,
    /// Compiled, by text and whether case counts: virtual servers have the same ones again and again.
    patterns: HashMap<(Box<[u8]>, bool), Arc<Pattern>>,
    open: Vec<Block>,
    notes: HashMap<TypeId, Box<dyn Any>>,
}

impl<'a> Loader<'a> {
    pub fn new(
        registry: &'a Registry,
        paths: Paths,
        log_files: &'a OpenFiles,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        let defaults = Defaults::new(&registry.settings);
        let main = Block {
            context: Contexts::MAIN,
            header: None,
            settings: SettingsSet::new(&defaults),
            children: Vec::new(),
        };
        Loader {
            defaults,
            patterns: HashMap::new(),
            paths,
            variables: Variables::default(),
            log_files,
            diagnostics,
            registry,
            open: vec![main],
            notes: HashMap::new(),
        }
    }

    /// Reads the outermost directives; every error goes to the diagnostics and the rest is read all the same.
    pub fn load(mut self, directives: &[conf::Directive]) -> (Block, Variables) {
        self.read_all(directives);
        let main = self.open.pop().expect("the outermost block stays open");
        (main, self.variables)
    }

    /// What a module notes down for the whole configuration, whichever block is being read; a type each.
    pub fn notes<T: Default + 'static>(&mut self) -> &mut T {
        let notes = self.notes.entry(TypeId::of::<T>());
        let notes = notes.or_insert_with(|| Box::new(T::default()));
        notes.downcast_mut().expect("notes of their own type")
    }

    /// Whether a module of that name is built in.
    pub fn has_module(&self, name: &str) -> bool {
        self.registry.modules.contains(&name)
    }

    pub fn context(&self) -> Contexts {
        self.block().context
    }

    /// A module's settings in the block that is being read.
    pub fn settings<T: Inherit + Default + Any + Send + Sync>(
        &mut self,
        key: &SettingsKey<T>,
    ) -> &mut T {
        self.open.last_mut().expect("a block is open").settings.of_mut(key)
    }

    /// A module's settings in the outermost block, whichever block is being read.
    pub fn main_settings<T: Inherit + Default + Any + Send + Sync>(
        &mut self,
        key: &SettingsKey<T>,
    ) -> &mut T {
        self.open[0].settings.of_mut(key)
    }

    /// The block that is being read.
    pub fn block(&self) -> &Block {
        self.open.last().expect("a block is open")
    }

    /// The blocks around the one that is being read, innermost first.
    pub fn outer_blocks(&self) -> impl Iterator<Item = &Block> {
        self.open.iter().rev().skip(1)
    }

    /// Reads the directive's block as `context` and adds it to the block around it.
    pub fn enter(&mut self, context: Contexts, directive: &conf::Directive) {
        self.enter_with(context, directive, |_| {});
    }

    /// As [`enter`](Self::enter), with settings that stand before the block's first directive is read.
    pub fn enter_with(
        &mut self,
        context: Contexts,
        directive: &conf::Directive,
        prepare: impl FnOnce(&mut SettingsSet),
    ) {
        let mut settings = SettingsSet::new(&self.defaults);
        prepare(&mut settings);
        let conf::Directive { name, args, span, .. } = directive;
        let header =
            conf::Directive { name: name.clone(), args: args.clone(), block: None, span: *span };
        self.open.push(Block { context, header: Some(header), settings, children: Vec::new() });
        if let Some(block) = &directive.block {
            self.read_all(&block.directives);
        }
        let block = self.open.pop().expect("the block that was just opened");
        self.open.last_mut().expect("the block around it").children.push(block);
    }

    /// The block that was entered last.
    pub fn entered(&mut self) -> &mut Block {
        let block = self.open.last_mut().expect("a block is open");
        block.children.last_mut().expect("a block was entered")
    }

    pub fn script(&mut self, word: &conf::Word) -> Result<Script, Fault> {
        Script::compile(&word.text, word.span, &mut self.variables)
            .map_err(|sentence| Fault::from(sentence).at(word.span))
    }

    /// Compiles a pattern and declares its named groups as variables.
    pub fn pattern(
        &mut self,
        word: &conf::Word,
        text: &[u8],
        caseless: bool,
    ) -> Result<Box<NamedPattern>, Fault> {
        let key = (text.into(), caseless);
        let pattern = match self.patterns.get(&key) {
            Some(known) => Arc::clone(known),
            None => {
                let compiled = Pattern::compile(text, caseless)
                    .map_err(|error| Fault::from(error.to_string()).at(word.span))?;
                let compiled = Arc::new(compiled);
                self.patterns.insert(key, Arc::clone(&compiled));
                compiled
            }
        };
        let names = pattern.names().iter();
        let names = names
            .map(|(name, group)| {
                (self.variables.define(name, Definition::Captured, word.span), *group)
            })
            .collect();
        Ok(Box::new(NamedPattern { text: text.into(), pattern, names }))
    }

    pub fn warn(&mut self, span: Span, message: String) {
        self.diagnostics.warn(message, span);
    }

    fn read_all(&mut self, directives: &[conf::Directive]) {
        for (index, directive) in directives.iter().enumerate() {
            if let Err(fault) = self.read(directive, &directives[..index]) {
                self.report(directive, fault);
            }
        }
    }

    /// `before` are the directives that stand before this one in its block.
    fn read(
        &mut self,
        directive: &conf::Directive,
        before: &[conf::Directive],
    ) -> Result<(), Fault> {
        let row = self.row(directive)?;
        check_form(row, directive)?;
        if matches!(row.action, Action::Accepted(_) | Action::Checked(..) | Action::Unsupported(_))
        {
            // No setting remembers that it was given.
            let name = &directive.name.text;
            if before.iter().any(|earlier| earlier.name.text == *name) {
                return Err("is duplicate".into());
            }
        }
        match row.action {
            Action::Set(set) => set(self, directive),
            Action::Accepted(_) => Ok(()),
            Action::Checked(check, _) => check(directive),
            Action::Unsupported(check) => {
                check(directive)?;
                let message = format!("\"{}\" is not supported, ignored", row.name);
                self.diagnostics.warn(message, directive.name.span);
                Ok(())
            }
        }
    }

    fn row(&self, directive: &conf::Directive) -> Result<&'static Directive, Fault> {
        let name = directive.name.to_string();
        let Some(rows) = self.registry.rows.get(name.as_str()) else {
            return Err(self.unknown(&name));
        };
        let context = self.context();
        match rows.iter().find(|row| row.contexts.intersects(context)) {
            Some(row) => Ok(row),
            None => Err(Fault::from("is not allowed here")),
        }
    }

    fn unknown(&self, name: &str) -> Fault {
        let fault = Fault::from(format!("unknown directive \"{name}\""));
        if let Some(help) = known::foreign(name) {
            return fault.help(help);
        }
        if let Some(module) = known::module_of(name) {
            return fault
                .help(format!("nginx has it, in {module}; daemun does not support it yet"));
        }
        let context = self.context();
        let here = self
            .registry
            .rows
            .iter()
            .filter(|(_, rows)| rows.iter().any(|row| row.contexts.intersects(context)));
        let names = here.map(|(name, _)| *name).chain(["include"]);
        match conf::suggest(name, names) {
            Some(near) => fault.help(format!("did you mean \"{near}\"?")),
            None => fault,
        }
    }

    fn report(&mut self, directive: &conf::Directive, fault: Fault) {
        let message = match fault.message {
            Message::Reason(reason) => format!("\"{}\" directive {reason}", directive.name),
            Message::Sentence(sentence) => sentence,
        };
        let span = fault.span.unwrap_or(directive.name.span);
        self.diagnostics.emerg(message, span);
        if let Some(help) = fault.help.or_else(|| self.likely_slip(directive)) {
            self.diagnostics.help(help);
        }
    }

    /// What is often behind a directive that is wrong: the end of another that is missing, or quotes that are none.
    fn likely_slip(&self, directive: &conf::Directive) -> Option<String> {
        let is_directive = |word: &conf::Word| {
            !word.quoted && word.as_str().is_ok_and(|name| self.registry.rows.contains_key(name))
        };
        if directive.args.iter().any(|word| word.to_string().contains(known::IS_TYPOGRAPHIC)) {
            return Some(known::TYPOGRAPHIC.to_owned());
        }
        let inside = directive.block.as_ref().and_then(|block| block.directives.first());
        if inside.is_some_and(|first| known::is_repetition(&first.name.to_string())) {
            return Some(conf::QUOTE_BRACES.to_owned());
        }
        let next = directive.args.iter().skip(1).position(is_directive)?;
        Some(format!("a \";\" is missing after \"{}\"?", directive.args[next]))
    }
}

fn check_form(row: &Directive, directive: &conf::Directive) -> Result<(), Fault> {
    let name = row.name;
    match directive.block {
        None if row.arguments.is_block() => {
            return Err(format!("directive \"{name}\" has no opening \"{{\"").into());
        }
        Some(_) if !row.arguments.may_be_block() => {
            return Err(format!("directive \"{name}\" is not terminated by \";\"").into());
        }
        _ => {}
    }
    if !row.arguments.accepts(directive.args.len()) {
        return Err(format!("invalid number of arguments in \"{name}\" directive").into());
    }
    Ok(())
}
