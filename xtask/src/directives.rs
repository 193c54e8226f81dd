//! `cargo xtask directives`: what becomes of each directive of nginx.

use std::fmt::Write;

use crate::shown::{self, Shown};
use crate::tables::{self, Known, State};

/// By module of nginx: directive, and what becomes of it.
pub fn report() -> String {
    let texts = shown::texts();
    let mut out = String::new();
    let known = tables::known();
    for module in known.chunk_by(|a, b| a.module == b.module) {
        let _ = writeln!(out, "{}", module[0].module);
        for directive in module {
            let _ = writeln!(out, "  {:<36} {}", directive.name, column(&texts, directive));
        }
    }
    let _ = writeln!(out, "daemun's own");
    for name in tables::own() {
        let _ = writeln!(out, "  {name:<36} works      {}", test_of(&texts, name));
    }
    let _ = writeln!(out, "\n{}", sums(&known));
    out
}

/// Fails where a directive works and no test shows it.
pub fn check() -> Result<(), String> {
    let texts = shown::texts();
    let works = tables::known().into_iter().filter(is_working);
    let mut names: Vec<_> = works.map(|known| known.name).chain(tables::own()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !texts.iter().any(|text| text.has(name)));
    match &names[..] {
        [] => Ok(()),
        unshown => Err(format!("no test shows: {}", unshown.join(", "))),
    }
}

fn is_working(known: &Known) -> bool {
    matches!(known.state, State::Works)
}

fn column(texts: &[Shown], known: &Known) -> String {
    match known.state {
        State::Works => format!("works      {}", test_of(texts, known.name)),
        State::Accepted(reason) => format!("accepted   {reason}"),
        State::Refused => "refused".to_owned(),
    }
}

fn test_of<'t>(texts: &'t [Shown], name: &str) -> &'t str {
    let shown = texts.iter().find(|text| text.has(name));
    shown.map_or("NO TEST SHOWS IT", |text| &text.test)
}

fn sums(known: &[Known]) -> String {
    let works = known.iter().filter(|known| is_working(known)).count();
    let refused = known.iter().filter(|known| matches!(known.state, State::Refused)).count();
    let accepted = known.len() - works - refused;
    format!("{works} work, {accepted} are accepted without effect, {refused} are refused")
}
