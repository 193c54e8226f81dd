//! nginx's directives beside the tables of the modules.

use daemun_core::module::{Action, Contexts, Directive};
use daemun_core::{known, main_context};

/// A directive of nginx, in one of nginx's modules.
pub struct Known {
    pub module: &'static str,
    pub name: &'static str,
    pub state: State,
}

pub enum State {
    Works,
    /// With the reason why it has no effect.
    Accepted(&'static str),
    Refused,
}

/// All of them, by module.
pub fn known() -> Vec<Known> {
    let rows: Vec<&Directive> = rows().collect();
    let mut all: Vec<Known> = known::directives()
        .map(|(name, module)| Known { module, name, state: state(&rows, name, module) })
        .collect();
    all.sort_by_key(|known| (known.module, known.name));
    all
}

/// The names of those that work and are not nginx's.
pub fn own() -> Vec<&'static str> {
    let names = rows().map(|row| row.name);
    let mut own: Vec<_> = names.filter(|name| known::module_of(name).is_none()).collect();
    own.sort_unstable();
    own.dedup();
    own
}

fn rows() -> impl Iterator<Item = &'static Directive> {
    let http = daemun_http::core::PARTS.iter().chain(daemun_modules::http::MODULES);
    let http = http.flat_map(|module| module.base.directives);
    let main = main_context::MODULES.iter().flat_map(|module| module.directives);
    main.chain(http)
}

fn state(rows: &[&'static Directive], name: &str, module: &str) -> State {
    let contexts = contexts_of(module);
    let row = rows.iter().find(|row| row.name == name && row.contexts.intersects(contexts));
    match row.map(|row| row.action) {
        Some(Action::Set(_)) => State::Works,
        Some(Action::Accepted(reason) | Action::Checked(_, reason)) => State::Accepted(reason),
        Some(Action::Unsupported(_)) => State::Accepted("the system has no such thing"),
        // `events`, `http` and `include` have no row: the program reads them itself.
        None if matches!((name, module), ("include", "conf_file")) => State::Works,
        None => State::Refused,
    }
}

/// Where a module's directives may stand: one name can be a directive of several modules.
fn contexts_of(module: &str) -> Contexts {
    match module {
        _ if module.starts_with("mail") || module.starts_with("stream") => Contexts::empty(),
        _ if module.starts_with("http_upstream") => Contexts::UPSTREAM,
        _ if module.starts_with("http_") => {
            Contexts::HTTP_TO_IF | Contexts::SERVER_IF | Contexts::LIMIT_EXCEPT
        }
        "nginx" | "http" | "log" | "regex" | "thread_pool" | "conf_file" => Contexts::MAIN,
        _ => Contexts::MAIN | Contexts::EVENTS,
    }
}
