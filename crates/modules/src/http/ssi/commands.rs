//! What the commands do.

use std::collections::VecDeque;
use std::ffi::CString;

use daemun_core::log;
use daemun_http::request::{Request, Text};
use daemun_http::subrequest::Subrequest;
use daemun_http::{escape, uri};
use daemun_pattern::Pattern;

use super::parser::Command;
use super::text::{self, Invalid};
use super::{DateFormat, Piece, SETTINGS, Shared};

/// How far a page's commands have come.
pub(super) struct Page {
    /// Text is sent.
    is_shown: bool,
    /// Text goes into the block that was begun last.
    is_block: bool,
    condition: Condition,
    /// A branch of the condition was chosen.
    is_chosen: bool,
    encoding: Encoding,
    error: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Outside,
    /// Behind `if` or `elif`.
    If,
    Else,
}

#[derive(Clone, Copy)]
enum Encoding {
    None,
    Url,
    Entity,
}

impl Default for Page {
    fn default() -> Page {
        Page {
            is_shown: true,
            is_block: false,
            condition: Condition::Outside,
            is_chosen: false,
            encoding: Encoding::Entity,
            error: b"[an error occurred while processing the directive]".to_vec(),
        }
    }
}

/// What a command may have.
struct Form {
    name: &'static [u8],
    parameters: &'static [(&'static [u8], Presence)],
    /// Where it may stand.
    place: Place,
    run: fn(&mut Page, &mut Request, &Command, &mut VecDeque<Piece>) -> Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Optional,
    Needed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// Behind `if` or `elif`.
    BehindIf,
    /// The same or behind `else`.
    BehindAny,
    /// Ends a block, whose commands are not carried out.
    BehindBlock,
}

/// Whether what follows has to wait until everything before it is sent.
type Outcome = Result<bool, Invalid>;

const FORMS: &[Form] = &[
    Form {
        name: b"include",
        parameters: &[
            (b"virtual", Presence::Optional),
            (b"file", Presence::Optional),
            (b"wait", Presence::Optional),
            (b"set", Presence::Optional),
            (b"stub", Presence::Optional),
        ],
        place: Place::Anywhere,
        run: Page::include,
    },
    Form {
        name: b"echo",
        parameters: &[
            (b"var", Presence::Needed),
            (b"default", Presence::Optional),
            (b"encoding", Presence::Optional),
        ],
        place: Place::Anywhere,
        run: Page::echo,
    },
    Form {
        name: b"config",
        parameters: &[(b"errmsg", Presence::Optional), (b"timefmt", Presence::Optional)],
        place: Place::Anywhere,
        run: Page::config,
    },
    Form {
        name: b"set",
        parameters: &[(b"var", Presence::Needed), (b"value", Presence::Needed)],
        place: Place::Anywhere,
        run: Page::set,
    },
    Form {
        name: b"if",
        parameters: &[(b"expr", Presence::Needed)],
        place: Place::Anywhere,
        run: Page::if_,
    },
    Form {
        name: b"elif",
        parameters: &[(b"expr", Presence::Needed)],
        place: Place::BehindIf,
        run: Page::if_,
    },
    Form { name: b"else", parameters: &[], place: Place::BehindIf, run: Page::else_ },
    Form { name: b"endif", parameters: &[], place: Place::BehindAny, run: Page::endif },
    Form {
        name: b"block",
        parameters: &[(b"name", Presence::Needed)],
        place: Place::Anywhere,
        run: Page::block,
    },
    Form { name: b"endblock", parameters: &[], place: Place::BehindBlock, run: Page::endblock },
];

/// How many parameters a command may have.
const MAX_PARAMETERS: usize = 16;

fn parameter<'c>(command: &'c Command, name: &[u8]) -> Option<&'c [u8]> {
    let found = command.parameters.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_slice())
}

impl Page {
    /// Sends text, keeps it in a block, or leaves it out.
    pub fn take_text(&self, request: &mut Request, text: Vec<u8>, pieces: &mut VecDeque<Piece>) {
        if text.is_empty() {
            return;
        }
        if self.is_shown {
            match pieces.back_mut() {
                Some(Piece::Text(before)) => before.extend_from_slice(&text),
                _ => pieces.push_back(Piece::Text(text)),
            }
        } else if self.is_block {
            request.with_shared(&SETTINGS, |shared: &mut Shared| {
                if let Some((_, content)) = shared.blocks.last_mut() {
                    content.extend_from_slice(&text);
                }
            });
        }
    }

    /// Carries out a command; `true` where what follows has to wait until everything before it is sent.
    pub fn run(
        &mut self,
        request: &mut Request,
        command: Command,
        pieces: &mut VecDeque<Piece>,
    ) -> bool {
        let Some(form) = FORMS.iter().find(|form| form.name == command.name) else {
            if self.is_shown {
                let name = Text(&command.name);
                log!(request.log(), Error, *request, "invalid SSI command: \"{}\"", name);
                self.tell_error(request, pieces);
            }
            return false;
        };
        if !self.is_shown && form.place != Place::BehindBlock {
            if self.is_block {
                self.take_text(request, spelt(&command), pieces);
                return false;
            }
            if form.place == Place::Anywhere {
                return false;
            }
        }
        let outcome = match self.check(request, form, &command) {
            Ok(()) => (form.run)(self, request, &command, pieces),
            Err(invalid) => Err(invalid),
        };
        outcome.unwrap_or_else(|Invalid| {
            self.tell_error(request, pieces);
            false
        })
    }

    pub fn tell_error(&self, request: &Request, pieces: &mut VecDeque<Piece>) {
        if !*request.settings(&SETTINGS).silent_errors {
            pieces.push_back(Piece::Text(self.error.clone()));
        }
    }

    fn check(&self, request: &Request, form: &Form, command: &Command) -> Result<(), Invalid> {
        let fits = match form.place {
            Place::Anywhere | Place::BehindBlock => true,
            Place::BehindIf => self.condition == Condition::If,
            Place::BehindAny => self.condition != Condition::Outside,
        };
        let log = request.log();
        let name = Text(&command.name);
        if !fits {
            log!(log, Error, *request, "invalid context of SSI command: \"{}\"", name);
            return Err(Invalid);
        }
        if command.parameters.len() > MAX_PARAMETERS {
            log!(log, Error, *request, "too many SSI command parameters: \"{}\"", name);
            return Err(Invalid);
        }
        for (index, (key, _)) in command.parameters.iter().enumerate() {
            let shown = Text(key);
            if !form.parameters.iter().any(|(known, _)| known == key) {
                log!(
                    log,
                    Error,
                    *request,
                    "invalid parameter name: \"{}\" in \"{}\" SSI command",
                    shown,
                    name
                );
                return Err(Invalid);
            }
            if command.parameters[..index].iter().any(|(before, _)| before == key) {
                log!(
                    log,
                    Error,
                    *request,
                    "duplicate \"{}\" parameter in \"{}\" SSI command",
                    shown,
                    name
                );
                return Err(Invalid);
            }
        }
        for (key, presence) in form.parameters {
            if *presence == Presence::Needed && parameter(command, key).is_none() {
                log!(
                    log,
                    Error,
                    *request,
                    "mandatory \"{}\" parameter is absent in \"{}\" SSI command",
                    Text(key),
                    name
                );
                return Err(Invalid);
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        request: &mut Request,
        command: &Command,
        pieces: &mut VecDeque<Piece>,
    ) -> Outcome {
        let waits = check_include(request, command)?;
        let target = parameter(command, b"virtual").or(parameter(command, b"file"));
        let target = text::evaluate_uri(request, target.unwrap_or_default())?;
        let (uri, args) = uri::split_unsafe(request, &target).map_err(|_| Invalid)?;
        let stub = match parameter(command, b"stub") {
            None => None,
            Some(name) => Some(block(request, name)?),
        };
        let included = match stub {
            None => Subrequest::begin(request, &uri, &args),
            Some(_) => Subrequest::begin_stubbed(request, &uri, &args),
        };
        let included = included.map_err(|_| Invalid)?;
        Ok(match parameter(command, b"set") {
            Some(name) => {
                request.with_shared(&SETTINGS, |shared: &mut Shared| {
                    if shared.value(name).is_none() {
                        shared.set(name, Vec::new());
                    }
                });
                pieces.push_back(Piece::Variable { included, name: name.to_vec() });
                true
            }
            None => {
                pieces.push_back(Piece::Response { included, stub, is_empty: true });
                waits
            }
        })
    }

    fn echo(
        &mut self,
        request: &mut Request,
        command: &Command,
        pieces: &mut VecDeque<Piece>,
    ) -> Outcome {
        let name = parameter(command, b"var").unwrap_or_default();
        let value = text::variable(request, name);
        let default = || parameter(command, b"default").unwrap_or(b"(none)").to_vec();
        let value = value.unwrap_or_else(default);
        if value.is_empty() {
            return Ok(false);
        }
        match parameter(command, b"encoding") {
            None => {}
            Some(b"none") => self.encoding = Encoding::None,
            Some(b"url") => self.encoding = Encoding::Url,
            Some(b"entity") => self.encoding = Encoding::Entity,
            Some(other) => {
                let other = Text(other);
                log!(
                    request.log(),
                    Error,
                    *request,
                    "unknown encoding \"{}\" in the \"echo\" command",
                    other
                );
            }
        }
        let mut out = Vec::with_capacity(value.len());
        match self.encoding {
            Encoding::None => out = value,
            Encoding::Url => escape::attribute(&value, &mut out),
            Encoding::Entity => escape::html(&value, &mut out),
        }
        self.take_text(request, out, pieces);
        Ok(false)
    }

    fn config(
        &mut self,
        request: &mut Request,
        command: &Command,
        _: &mut VecDeque<Piece>,
    ) -> Outcome {
        if let Some(format) = parameter(command, b"timefmt") {
            let format = DateFormat(CString::new(format).ok());
            *request.context(&SETTINGS) = format;
        }
        if let Some(message) = parameter(command, b"errmsg") {
            self.error = message.to_vec();
        }
        Ok(false)
    }

    fn set(
        &mut self,
        request: &mut Request,
        command: &Command,
        _: &mut VecDeque<Piece>,
    ) -> Outcome {
        let value = parameter(command, b"value").unwrap_or_default();
        let value = text::evaluate(request, value)?;
        let name = parameter(command, b"var").unwrap_or_default();
        request.with_shared(&SETTINGS, |shared: &mut Shared| shared.set(name, value));
        Ok(false)
    }

    fn if_(
        &mut self,
        request: &mut Request,
        command: &Command,
        _: &mut VecDeque<Piece>,
    ) -> Outcome {
        if command.name == b"if" && self.condition != Condition::Outside {
            let log = request.log();
            log!(log, Error, *request, "the \"if\" command inside the \"if\" command");
            return Err(Invalid);
        }
        if self.is_chosen {
            self.is_shown = false;
            return Ok(false);
        }
        let expression = parameter(command, b"expr").unwrap_or_default();
        let holds = holds(request, expression)?;
        self.is_shown = holds;
        self.is_chosen |= holds;
        self.condition = Condition::If;
        Ok(false)
    }

    fn else_(&mut self, _: &mut Request, _: &Command, _: &mut VecDeque<Piece>) -> Outcome {
        self.is_shown = !self.is_chosen;
        self.condition = Condition::Else;
        Ok(false)
    }

    fn endif(&mut self, _: &mut Request, _: &Command, _: &mut VecDeque<Piece>) -> Outcome {
        self.is_shown = true;
        self.is_chosen = false;
        self.condition = Condition::Outside;
        Ok(false)
    }

    fn block(
        &mut self,
        request: &mut Request,
        command: &Command,
        _: &mut VecDeque<Piece>,
    ) -> Outcome {
        let name = parameter(command, b"name").unwrap_or_default().to_vec();
        request
            .with_shared(&SETTINGS, |shared: &mut Shared| shared.blocks.push((name, Vec::new())));
        self.is_shown = false;
        self.is_block = true;
        Ok(false)
    }

    fn endblock(&mut self, _: &mut Request, _: &Command, _: &mut VecDeque<Piece>) -> Outcome {
        self.is_shown = true;
        self.is_block = false;
        Ok(false)
    }
}

/// Whether the parameters of `include` go together; whether what follows waits for it.
fn check_include(request: &Request, command: &Command) -> Outcome {
    let log = request.log();
    let (uri, file) = (parameter(command, b"virtual"), parameter(command, b"file"));
    if let (Some(uri), Some(file)) = (uri, file) {
        let (uri, file) = (Text(uri), Text(file));
        log!(
            log,
            Error,
            *request,
            "inclusion may be either virtual=\"{}\" or file=\"{}\"",
            uri,
            file
        );
        return Err(Invalid);
    }
    if uri.is_none() && file.is_none() {
        log!(log, Error, *request, "no parameter in \"include\" SSI command");
        return Err(Invalid);
    }
    if parameter(command, b"set").is_some() && parameter(command, b"stub").is_some() {
        log!(
            log,
            Error,
            *request,
            "\"set\" and \"stub\" cannot be used together in \"include\" SSI command"
        );
        return Err(Invalid);
    }
    match (parameter(command, b"wait"), file) {
        (Some(_), Some(file)) => {
            log!(log, Error, *request, "\"wait\" cannot be used with file=\"{}\"", Text(file));
            Err(Invalid)
        }
        (None, file) => Ok(file.is_some()),
        (Some(wait), None) if wait.eq_ignore_ascii_case(b"no") => Ok(false),
        (Some(wait), None) if wait.eq_ignore_ascii_case(b"yes") => Ok(true),
        (Some(wait), None) => {
            let wait = Text(wait);
            log!(log, Error, *request, "invalid value \"{}\" in the \"wait\" parameter", wait);
            Err(Invalid)
        }
    }
}

fn block(request: &mut Request, name: &[u8]) -> Result<Vec<u8>, Invalid> {
    let found = request.with_shared(&SETTINGS, |shared: &mut Shared| {
        let found = shared.blocks.iter().find(|(known, _)| known == name);
        found.map(|(_, content)| content.clone())
    });
    found.ok_or_else(|| {
        let name = Text(name);
        log!(request.log(), Error, *request, "\"stub\"=\"{}\" for \"include\" not found", name);
        Invalid
    })
}

/// The command as it stood in the page, more or less.
fn spelt(command: &Command) -> Vec<u8> {
    let mut out = b"<!--#".to_vec();
    out.extend_from_slice(&command.name);
    for (key, value) in &command.parameters {
        out.push(b' ');
        out.extend_from_slice(key);
        out.extend_from_slice(b"=\"");
        out.extend_from_slice(value);
        out.push(b'"');
    }
    out.extend_from_slice(b" -->");
    out
}

/// `$a`, `$a = text`, `$a != text`, `$a = /pattern/`, `$a != /pattern/`.
fn holds(request: &mut Request, expression: &[u8]) -> Result<bool, Invalid> {
    let is_left = |byte: &u8| byte.is_ascii_alphanumeric() || b"${}_\"'".contains(byte);
    let length = expression.iter().take_while(|byte| is_left(byte)).count();
    let left = text::evaluate(request, &expression[..length].to_ascii_lowercase())?;
    let rest = skip_spaces(&expression[length..]);
    let (is_negative, right) = match rest {
        [] => return Ok(!left.is_empty()),
        [b'=', right @ ..] => (false, right),
        [b'!', b'=', right @ ..] => (true, right),
        _ => return refuse(request, expression),
    };
    let is_equal = match skip_spaces(right) {
        [b'/', pattern @ .., b'/'] => {
            let pattern = text::evaluate(request, pattern)?;
            matches(request, &pattern, &left)?
        }
        [b'/', _, ..] => return refuse(request, expression),
        [b'\\', right @ ..] if right.starts_with(b"/") => text::evaluate(request, right)? == left,
        right => text::evaluate(request, right)? == left,
    };
    Ok(is_equal != is_negative)
}

fn refuse(request: &Request, expression: &[u8]) -> Result<bool, Invalid> {
    log!(request.log(), Error, *request, "invalid expression in \"{}\"", Text(expression));
    Err(Invalid)
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| **byte == b' ').count();
    &text[spaces..]
}

/// Matches, and keeps the groups for `$0` to `$9` and by their names.
fn matches(request: &mut Request, pattern: &[u8], subject: &[u8]) -> Result<bool, Invalid> {
    let compiled = Pattern::compile(pattern, false).map_err(|error| {
        log!(request.log(), Error, *request, "{}", error);
        Invalid
    })?;
    let mut slots = Vec::new();
    let found = compiled.captures(subject, &mut slots).map_err(|_| {
        let (subject, pattern) = (Text(subject), Text(pattern));
        let log = request.log();
        log!(
            log,
            Alert,
            *request,
            "pcre2_match() failed: -47 on \"{}\" using \"{}\"",
            subject,
            pattern
        );
        Invalid
    })?;
    if !found {
        return Ok(false);
    }
    let group =
        |slot: &Option<(usize, usize)>| slot.map(|(start, end)| subject[start..end].to_vec());
    request.with_shared(&SETTINGS, |shared: &mut Shared| {
        shared.captures = slots.iter().map(group).collect();
        for (name, index) in compiled.names() {
            shared.set(name.as_bytes(), group(&slots[*index]).unwrap_or_default());
        }
    });
    Ok(true)
}
