//! From what the engine knows to the lines that the user wrote.

use daemun_conf::{Directive, Files, Span};
use daemun_core::cidr::Cidr;
use daemun_core::module::SettingsSet;
use daemun_event::Peer;
use daemun_http::config::Location;
use daemun_http::module::{HttpModule, Phase};

use crate::lint::{Outline, Scope};
use crate::program;

pub(super) struct Places<'c> {
    files: &'c Files,
    outline: Outline<'c>,
}

impl<'c> Places<'c> {
    pub fn new(files: &'c Files, directives: &'c [Directive]) -> Places<'c> {
        Places { files, outline: Outline::of(directives) }
    }

    /// `FILE:LINE`
    pub fn of(&self, span: Span) -> String {
        let position = self.files.position(span);
        format!("{}:{}", position.file.name().display(), position.line)
    }

    /// What is written there, in one line.
    pub fn text(&self, span: Span) -> String {
        let file = self.files.file(span.file).text();
        let text = String::from_utf8_lossy(&file[span.start as usize..span.end as usize]);
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").trim_end_matches(['{', ';', ' ']).to_owned()
    }

    /// The directive that opens a location or server, with its place.
    pub fn block(&self, location: &Location) -> String {
        match self.scope(location).and_then(Scope::opener) {
            Some(opener) => format!("{} at {}", self.text(opener.span), self.of(opener.span)),
            None => "the server itself".to_owned(),
        }
    }

    /// The directive by which a module takes part in a location: the rule for the client where there are several.
    pub fn decisive(&self, location: &Location, module: &HttpModule, client: Peer) -> Option<Span> {
        let names: Vec<&str> = module.base.directives.iter().map(|row| row.name).collect();
        let found = self.scope(location)?.in_force(&names);
        let concerns = |directive: &&&Directive| {
            let who = directive.args.first().map_or(&b""[..], |word| &word.text);
            let range = Cidr::parse(who).map(|(range, _)| range);
            who == b"all" || range.is_some_and(|range| range.contains(client))
        };
        let rule = match names.contains(&"allow") {
            true => found.iter().find(concerns),
            false => found.first(),
        };
        rule.map(|directive| directive.span)
    }

    fn scope(&self, location: &Location) -> Option<Scope<'_>> {
        let span = location.span?;
        let is_opener = |opener: &Directive| opener.name.span == span;
        self.outline.scopes().find(|scope| scope.opener().is_some_and(is_opener))
    }
}

/// The module of a location's handler: the `number`th of a phase.
pub(super) fn module_of(
    location: &Location,
    phase: Phase,
    number: usize,
) -> Option<&'static HttpModule> {
    let settings = &location.settings;
    if phase != Phase::Content {
        return taking_part(settings, phase).nth(number);
    }
    // The dedicated one comes first; an `if` in a dedicated location has that, too.
    let before = location.handlers.content.len() - taking_part(settings, phase).count();
    match number.checked_sub(before) {
        Some(number) => taking_part(settings, phase).nth(number),
        None => taking_part(settings, Phase::Dedicated).last(),
    }
}

/// The modules of a phase's handlers, in the order in which the configuration lists those.
fn taking_part(settings: &SettingsSet, phase: Phase) -> impl Iterator<Item = &'static HttpModule> {
    program::http_modules().iter().flat_map(move |module| {
        let handlers = module.handlers.iter();
        let here = handlers.filter(move |one| one.phase == phase && (one.applies)(settings));
        here.map(move |_| *module)
    })
}
