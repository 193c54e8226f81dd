//! What must be true of every module's table, whatever the module: read by the tests of each crate that has modules.

use std::collections::HashSet;
use std::path::Path;

use daemun_conf as conf;
use daemun_conf::{Diagnostics, Files, Root};

use crate::load::{Block, Loader, Paths, Registry};
use crate::log::OpenFiles;
use crate::module::{Action, Contexts, Directive, Module};

/// Lists what is wrong with the tables: rows without context or help, two rows for one name and context,
/// a default that its own row refuses.
pub fn mistakes(modules: &[&'static Module]) -> Vec<String> {
    let registry = Registry::new(modules.iter().copied());
    let mut mistakes = Vec::new();
    let mut seen = HashSet::new();
    for module in modules {
        for row in module.directives {
            let mut complain = |what: &str| {
                mistakes.push(format!("{} of {}: {what}", row.name, module.name));
            };
            if row.contexts.is_empty() {
                complain("stands nowhere");
            }
            if !is_sentence(row.help) {
                complain("its help is no sentence");
            }
            for context in row.contexts.iter() {
                if !seen.insert((row.name, context.bits())) {
                    complain("has two rows for one context");
                }
            }
            if let Some(refusal) = refusal_of_default(&registry, row) {
                complain(&format!("its default is refused: {refusal}"));
            }
        }
    }
    mistakes
}

/// Reads a configuration with these modules and no files but the text. The error lists every message.
pub fn load(modules: &[&'static Module], text: &str) -> Result<Block, Vec<String>> {
    let registry = Registry::new(modules.iter().copied());
    load_with(&registry, |loader| loader.load(&parse(text)).0)
}

fn load_with(
    registry: &Registry,
    read: impl FnOnce(Loader<'_>) -> Block,
) -> Result<Block, Vec<String>> {
    let (files, mut diagnostics) = (OpenFiles::default(), Diagnostics::default());
    let paths = Paths { prefix: "/nowhere".into(), conf: "/nowhere".into() };
    let block = read(Loader::new(registry, paths, &files, &mut diagnostics));
    let mut serious =
        diagnostics.iter().filter(|one| one.severity > conf::Severity::Notice).peekable();
    match serious.peek().is_none() {
        true => Ok(block),
        false => Err(serious.map(|one| one.message.clone()).collect()),
    }
}

fn parse(text: &str) -> Vec<conf::Directive> {
    let (mut files, mut diagnostics) = (Files::default(), Diagnostics::default());
    let root = Root::Embedded { name: "table.conf".into(), text: text.as_bytes().to_vec() };
    let tree = conf::parse(root, Path::new("/nowhere"), &mut files, &mut diagnostics);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render("table", &files));
    tree.directives
}

fn is_sentence(help: &str) -> bool {
    help.starts_with(|first: char| first.is_uppercase()) && help.ends_with('.')
}

fn refusal_of_default(registry: &Registry, row: &'static Directive) -> Option<String> {
    // what warns whatever the value says nothing of its default
    if row.default.is_empty() || matches!(row.action, Action::Unsupported(_)) {
        return None;
    }
    let text = match row.arguments.is_block() {
        true => format!("inside {{ {} {{ {} }} }}", row.name, row.default),
        false => format!("inside {{ {} {}; }}", row.name, row.default),
    };
    let inside = parse(&text).remove(0);
    let context = row.contexts.iter().next().unwrap_or(Contexts::MAIN);
    let loaded = load_with(registry, |mut loader| {
        loader.enter(context, &inside);
        loader.load(&[]).0
    });
    loaded.err().map(|mut messages| messages.remove(0))
}
