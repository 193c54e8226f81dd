//! `ssi`: commands in responses, such as to include others (Server Side Includes).
//!
//! ```nginx
//! location / {
//!     ssi       on;
//!     ssi_types text/plain;
//! }
//! ```

mod commands;
mod parser;
mod text;

use std::collections::VecDeque;
use std::ffi::CString;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::{self, Body, BodyStream, Chunk, NextChunk};
use daemun_http::date;
use daemun_http::module::{Apply, Filter, HttpModule, Variable};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::source::Source;
use daemun_http::status::Status;
use daemun_http::subrequest::Subrequest;
use daemun_http::type_set::TypeSet;
use daemun_sys::clock;

use commands::Page;
use parser::{Event, Parser};

settings! {
    pub struct Settings {
        is_on: bool = false,
        /// Errors leave no trace in the response.
        silent_errors: bool = false,
        types: TypeSet = TypeSet::html(),
        /// The most bytes of a parameter's value.
        value_length: usize = 255,
        /// The time of last modification is kept.
        last_modified: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_ssi_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "ssi" in HTTP_TO_IF, Flag, "off", set!(SETTINGS.is_on, values::flag),
                "Carries out the SSI commands in responses.";
            "ssi_silent_errors" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.silent_errors, values::flag),
                "Leaves errors in commands out of responses.";
            "ssi_types" in HTTP_SERVER_LOCATION, AtLeast(1), "", set_types!(SETTINGS.types),
                "Media types with SSI commands besides text/html.";
            "ssi_value_length" in HTTP_SERVER_LOCATION, Exactly(1), "255",
                set!(SETTINGS.value_length, values::size),
                "How long the value of a command's parameter may be.";
            "ssi_last_modified" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.last_modified, values::flag),
                "Whether Last-Modified is kept.";
            "ssi_min_file_chunk" in HTTP_SERVER_LOCATION, Exactly(1), "1k",
                Action::Checked(|directive| values::size(directive).map(drop), SENT_FROM_MEMORY),
                "Accepted: what lies between commands is sent from memory.";
            "ssi_ignore_recycled_buffers" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Checked(|directive| values::flag(directive).map(drop), SENT_FROM_MEMORY),
                "Accepted: what lies between commands is sent from memory.";
        },
    },
    variables: &[
        Variable::new("date_local", |request, _, out| {
            append_date(request, clock::format_local, out)
        }),
        Variable::new("date_gmt", |request, _, out| append_date(request, clock::format_utc, out)),
    ],
    filters: &[Filter {
        applies: |settings| *settings.of(&SETTINGS).is_on,
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

const SENT_FROM_MEMORY: &str = "what lies between commands is sent from memory";

/// What a page and all that it includes have in common.
#[derive(Default)]
struct Shared {
    /// Names in lower case, and values, of `set`.
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// The groups of the last match, `$0` first.
    captures: Vec<Option<Vec<u8>>>,
    /// Names and contents of `block`.
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How this page spells dates, as `config timefmt` has it.
#[derive(Default)]
struct DateFormat(Option<CString>);

fn append_date(
    request: &mut Request,
    spell: fn(i64, &std::ffi::CStr) -> Vec<u8>,
    out: &mut Vec<u8>,
) -> bool {
    let now = date::seconds(daemun_event::wall_clock()) as i64;
    let known = request.known_context::<DateFormat>(&SETTINGS);
    let format = known.and_then(|format| format.0.as_deref());
    if format == Some(c"%s") {
        // strftime(3) would take UTC for local time.
        out.extend_from_slice(now.to_string().as_bytes());
        return true;
    }
    out.extend_from_slice(&spell(now, format.unwrap_or(c"%A, %d-%b-%Y %H:%M:%S %Z")));
    true
}

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if request.response.content_length == Some(0) || !settings.types.has(&request.response) {
        return Ok(body);
    }
    if !request.is_subrequest() {
        let response = &mut request.response;
        response.rewrites_body();
        if *settings.last_modified {
            response.weaken_etag();
        } else {
            response.last_modified = None;
            response.etag = None;
        }
    }
    Ok(Body::stream(Ssi::new(body, *settings.value_length)))
}

/// A page while its commands are carried out: they are read ahead, so that what they include is fetched at once.
struct Ssi {
    /// `None` once it has ended.
    source: Option<Source>,
    parser: Parser,
    /// What has been read and not parsed.
    input: Bytes,
    page: Page,
    /// What is to be sent, in order.
    pieces: VecDeque<Piece>,
    /// Parsing goes on once all pieces are sent.
    waits: bool,
}

enum Piece {
    Text(Vec<u8>),
    /// An included response, and what to send if it is empty.
    Response {
        included: Subrequest,
        stub: Option<Vec<u8>>,
        is_empty: bool,
    },
    /// A stub with the response that it stands in for, whose location has its commands carried out.
    Stub {
        included: Subrequest,
        content: Box<Ssi>,
    },
    /// A response that becomes a variable.
    Variable {
        included: Subrequest,
        name: Vec<u8>,
    },
}

/// How many pieces are read ahead at most.
const AHEAD: usize = 256;

impl Ssi {
    fn new(body: Body, value_length: usize) -> Ssi {
        Ssi {
            source: Some(Source::new(body)),
            parser: Parser::new(value_length),
            input: Bytes::new(),
            page: Page::default(),
            pieces: VecDeque::new(),
            waits: false,
        }
    }

    /// Reads and parses what is there, as far as commands may be carried out already.
    fn read_ahead(&mut self, request: &mut Request, cx: &mut Context<'_>) -> std::io::Result<()> {
        while !self.waits && self.pieces.len() < AHEAD {
            if !self.input.is_empty() {
                self.parse(request);
                continue;
            }
            let Some(source) = &mut self.source else { break };
            match source.poll_bytes(request, cx) {
                Poll::Pending => break,
                Poll::Ready(Some(bytes)) => self.input = bytes?,
                Poll::Ready(None) => self.source = None,
            }
        }
        Ok(())
    }

    /// Takes the input up to the end of the next command.
    fn parse(&mut self, request: &mut Request) {
        let mut text = Vec::new();
        let (taken, event) = self.parser.parse(&self.input, &mut text, request);
        self.input = self.input.slice(taken..);
        self.page.take_text(request, text, &mut self.pieces);
        self.waits = match event {
            Event::Text => false,
            Event::Command(command) => self.page.run(request, command, &mut self.pieces),
            Event::Error => {
                self.page.tell_error(request, &mut self.pieces);
                false
            }
        };
    }
}

impl BodyStream for Ssi {
    /// What an included response says may end this one.
    fn holds_head(&self) -> bool {
        true
    }

    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        loop {
            if let Err(error) = self.read_ahead(request, cx) {
                return Poll::Ready(Some(Err(error)));
            }
            for piece in &mut self.pieces {
                if let Piece::Response { included, .. } = piece {
                    let _ = included.poll_answered(request, cx);
                }
            }
            let Some(first) = self.pieces.front_mut() else {
                if self.waits {
                    self.waits = false;
                    continue;
                }
                return match self.source {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(None),
                };
            };
            let next = ready!(first.poll_next(request, cx));
            if next.is_some() {
                return Poll::Ready(next);
            }
            if let Some(Piece::Response { included, stub: Some(stub), is_empty: true }) =
                self.pieces.pop_front()
            {
                self.pieces.push_front(stand_in(request, included, stub));
            }
        }
    }
}

/// What is sent in place of an empty response: the stub, with its commands where they are carried out for that one.
fn stand_in(request: &Request, mut included: Subrequest, stub: Vec<u8>) -> Piece {
    let settings = included.request().map(|included| included.settings(&SETTINGS));
    match settings.filter(|settings| *settings.is_on && settings.types.has(&request.response)) {
        None => Piece::Text(stub),
        Some(settings) => {
            let content = Box::new(Ssi::new(Body::bytes(stub), *settings.value_length));
            Piece::Stub { included, content }
        }
    }
}

impl Piece {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        match self {
            Piece::Text(text) if text.is_empty() => Poll::Ready(None),
            Piece::Text(text) => Poll::Ready(Some(Ok(Chunk::Bytes(std::mem::take(text).into())))),
            Piece::Stub { included, content } => match included.request() {
                Some(included) => content.poll_next(included, cx),
                None => Poll::Ready(None),
            },
            Piece::Response { included, is_empty, .. } => {
                let next = ready!(included.poll_next(request, cx));
                if let Some(Ok(chunk)) = &next {
                    *is_empty &= chunk.is_empty();
                }
                Poll::Ready(next)
            }
            Piece::Variable { included, name } => {
                let collected = ready!(included.poll_collected(request, cx));
                let went_well =
                    included.request().is_some_and(|included| included.response.status.0 < 300);
                // What is too long has been told, and ends the response.
                let Some(value) = collected else {
                    return Poll::Ready(Some(Err(body::refused())));
                };
                if went_well {
                    request.with_shared(&SETTINGS, |shared: &mut Shared| shared.set(name, value));
                }
                Poll::Ready(None)
            }
        }
    }
}

impl Shared {
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        let name = name.to_ascii_lowercase();
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name, value)),
        }
    }

    /// A group of the last match, or what `set` set.
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        if let [digit @ b'0'..=b'9'] = name
            && let Some(group) = self.captures.get(usize::from(digit - b'0'))
        {
            return Some(group.clone().unwrap_or_default());
        }
        let name = name.to_ascii_lowercase();
        let found = self.variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }
}
