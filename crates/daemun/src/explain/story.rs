//! A request's trace, told for people.

use std::fmt::Write;

use daemun_http::config::{HttpConfig, Location, Server};
use daemun_http::core::routing::Match;
use daemun_http::core::server_name;
use daemun_http::module::Phase;
use daemun_http::phases::Answer;
use daemun_http::request::{Request, Text};
use daemun_http::trace::{Event, Outcome, Verdict};

use super::asked::Asked;
use super::places::{Places, module_of};

pub(super) struct Story<'s> {
    pub asked: &'s Asked,
    pub http: &'static HttpConfig,
    pub request: &'s Request,
    pub answer: &'s Answer,
    pub places: Places<'s>,
}

/// A line with its label.
fn line(out: &mut String, label: &str, text: &str) {
    let _ = write!(out, "{label:<12} ");
    for one in text.chars() {
        // What a URI has decoded is text here.
        let _ = match one.is_control() {
            true => one.to_string().bytes().try_for_each(|byte| write!(out, "\\x{byte:02X}")),
            false => out.write_char(one),
        };
    }
    out.push('\n');
}

impl Story<'_> {
    /// `errors` is what the error log would say.
    pub fn tell(&self, errors: &str) -> String {
        let mut out = String::new();
        let Asked { method, host, target, .. } = self.asked;
        line(&mut out, "request", &format!("{method} {target} of {host}"));
        line(&mut out, "server", &self.server());
        let events = self.request.trace.as_ref().map_or(&[][..], |trace| &trace.events);
        let mut before = None;
        for event in events.iter().filter(|event| !is_silent(event)) {
            // Looked at by one module and opened by the next.
            if !before.is_some_and(|before| is_same_file(before, event)) {
                self.station(&mut out, event);
            }
            before = Some(event);
        }
        for error in errors.lines() {
            line(&mut out, "error log", without_time(error));
        }
        if let Some(file) = file_of(events) {
            line(&mut out, "file", &Text(file).to_string());
        }
        if let Some(location) = &self.request.response.location {
            line(&mut out, "redirect", &Text(location).to_string());
        }
        line(&mut out, "answered by", &self.places.block(self.request.location));
        line(&mut out, "status", &self.status());
        out
    }

    fn status(&self) -> String {
        let events = self.request.trace.as_ref().map_or(&[][..], |trace| &trace.events);
        let last = events.iter().rev().find(|event| is_end(event));
        match self.answer {
            Answer::Body(_) if matches!(last, Some(Event::Passed(_))) => {
                "as the server answers that it is passed to".to_owned()
            }
            Answer::Body(_) => self.request.response.status.0.to_string(),
            Answer::Hangup => "none: the connection is closed".to_owned(),
        }
    }

    fn server(&self) -> String {
        let server = self.request.server;
        let name = match server.name() {
            b"" => "without a name".to_owned(),
            name => Text(name).to_string(),
        };
        let place = self.places.block(&server.location);
        format!("{name}, {}: {place}", self.reason(server))
    }

    /// Why it is this server.
    fn reason(&self, server: &Server) -> String {
        let host = &self.request.host;
        let names = &server.settings().of(&server_name::SETTINGS).names.0;
        if let Some(named) = names.iter().find(|named| named.name.answers_to(host)) {
            return format!("by its name \"{}\"", named.word);
        }
        let shared = self.request.virtual_servers();
        let socket = &self.http.sockets[usize::from(self.request.connection().listener)];
        let address = &socket.spec.address;
        match (shared.has_explicit_default(), self.http.servers_on(address).len()) {
            (true, _) => format!("the default of {address}"),
            (false, 1) => format!("the only one on {address}"),
            (false, _) => format!("the first on {address}, which has no default"),
        }
    }

    fn station(&self, out: &mut String, event: &Event) {
        match event {
            Event::Named(location) => {
                line(out, "location", &format!("candidate: {}", self.places.block(location)));
            }
            Event::Tried { location, matches } => {
                let verb = if *matches { "matches" } else { "does not match" };
                line(out, "location", &format!("{verb}: {}", self.places.block(location)));
            }
            Event::Located(location) => {
                line(out, "location", &format!("chosen: {}", self.chosen(location)));
            }
            Event::Handled { phase, location, number, verdict } => {
                let module = module_of(location, *phase, *number);
                let name = module.map_or("handler", |module| short(module.base.name));
                let client = self.request.peer();
                let decisive =
                    module.and_then(|module| self.places.decisive(location, module, client));
                let place = decisive.map(|span| {
                    format!(", by \"{}\" at {}", self.places.text(span), self.places.of(span))
                });
                let place = place.unwrap_or_default();
                line(out, label(*phase), &format!("{name} {}{place}", decision(*verdict)));
            }
            Event::Rewriting { span, outcome } => {
                let text = self.places.text(*span);
                let place = self.places.of(*span);
                line(out, "rewrite", &format!("{text}: {} ({place})", came_to(outcome)));
            }
            Event::File { path, exists } => {
                let verb = if *exists { "there is" } else { "there is no" };
                line(out, "files", &format!("{verb} {}", Text(path)));
            }
            Event::Status(status) => line(out, "answer", &format!("status {}", status.0)),
            Event::SentTo(target) => line(out, "sent to", &Text(target).to_string()),
            Event::Passed(server) => {
                line(out, "passed to", &format!("{server}, which is not asked"))
            }
        }
    }

    fn chosen(&self, location: &Location) -> String {
        let kind = match location.matching() {
            Some(Match::Exact(_)) => "its name is the URI",
            Some(Match::Prefix { rank: true, .. }) => "the longest prefix, which outranks patterns",
            Some(Match::Prefix { .. }) => "the longest prefix, and no pattern matches",
            Some(Match::Pattern { .. }) => "the first pattern that matches",
            Some(Match::Named(_)) => "by its name",
            None => "no location matches",
        };
        format!("{}, {kind}", self.places.block(location))
    }
}

/// A handler that had nothing to say, or whose steps have told more than its verdict.
fn is_silent(event: &Event) -> bool {
    match event {
        Event::Handled { phase, verdict, .. } => {
            *verdict == Verdict::Declined || matches!(phase, Phase::ServerRewrite | Phase::Rewrite)
        }
        _ => false,
    }
}

/// What says how the answer came about.
fn is_end(event: &Event) -> bool {
    matches!(event, Event::Passed(_) | Event::Status(_) | Event::SentTo(_))
}

fn is_same_file(before: &Event, event: &Event) -> bool {
    match (before, event) {
        (Event::File { path: first, .. }, Event::File { path: second, .. }) => first == second,
        _ => false,
    }
}

fn label(phase: Phase) -> &'static str {
    match phase {
        Phase::PostRead => "first",
        Phase::ServerRewrite | Phase::Rewrite => "rewrite",
        Phase::PreAccess => "pre-access",
        Phase::Access => "access",
        Phase::PreContent => "pre-content",
        Phase::Dedicated | Phase::Content => "content",
        Phase::Log => "log",
    }
}

fn decision(verdict: Verdict) -> String {
    match verdict {
        Verdict::Declined => "has nothing to say".to_owned(),
        Verdict::Allowed => "allows".to_owned(),
        Verdict::Responds => "answers".to_owned(),
        Verdict::Status(status) => format!("says {}", status.0),
        Verdict::Sends => "sends the request elsewhere".to_owned(),
        Verdict::Hangup => "closes the connection".to_owned(),
    }
}

fn came_to(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Holds => "holds".to_owned(),
        Outcome::Fails => "does not hold".to_owned(),
        Outcome::Value(value) => format!("is \"{}\"", Text(value)),
        Outcome::Uri(uri) => format!("makes it {}", Text(uri)),
        Outcome::Redirect(url) => format!("redirects to {}", Text(url)),
        Outcome::Answers => "answers".to_owned(),
        Outcome::Ends => "ends the steps".to_owned(),
    }
}

/// `http_auth_basic_module` is `auth_basic`.
fn short(module: &str) -> &str {
    let name = module.strip_prefix("http_").unwrap_or(module);
    name.strip_suffix("_module").unwrap_or(name)
}

/// The file that a content handler answered with: the last one that it found.
fn file_of(events: &[Event]) -> Option<&[u8]> {
    let answered = events.iter().rposition(|event| {
        matches!(event, Event::Handled { phase: Phase::Content, verdict: Verdict::Responds, .. })
    })?;
    // A page of the server's own took its place.
    if events[answered..]
        .iter()
        .any(|event| matches!(event, Event::Status(status) if status.0 != 304))
    {
        return None;
    }
    let looked = events[..answered].iter().rev();
    let mut looked = looked.take_while(|event| !matches!(event, Event::Handled { .. }));
    looked.find_map(|event| match event {
        Event::File { path, exists: true } => Some(&**path),
        _ => None,
    })
}

/// A line of the error log from its level on.
fn without_time(line: &str) -> &str {
    line.find('[').map_or(line, |start| &line[start..])
}
