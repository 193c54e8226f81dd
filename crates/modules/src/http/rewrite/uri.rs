//! `rewrite`: a URI that a pattern matches is replaced, or redirected to the replacement.

use std::ops::ControlFlow;

use daemun_conf as conf;
use daemun_conf::Span;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::Script;
use daemun_http::module::Step;
use daemun_http::request::{Request, Text};
use daemun_http::status::Status;
use daemun_http::trace::Outcome;

use super::{Flow, Run, note, value_of};

pub(super) struct Rewrite {
    pattern: Box<NamedPattern>,
    replacement: Replacement,
    /// The query that the request has is added to the new one: there was no `?` at the replacement's end.
    keeps_args: bool,
    after: After,
}

enum Replacement {
    Uri { path: Script, args: Option<Script> },
    Redirect { status: Status, url: Script, has_args: bool },
}

/// What follows a replacement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The next step.
    Next,
    /// The search for another location.
    Last,
    /// The location goes on with the new URI.
    Break,
}

impl Rewrite {
    pub fn read(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Rewrite, Fault> {
        let (pattern, word) = (&directive.args[0], &directive.args[1]);
        if word.text.is_empty() {
            return Err(Fault::from("empty replacement".to_owned()).at(word.span));
        }
        let pattern = loader.pattern(pattern, &pattern.text, false)?;
        let (text, keeps_args) = match &*word.text {
            [text @ .., b'?'] => (text, false),
            text => (text, true),
        };
        let flag = directive.args.get(2);
        let (after, status) = match flag.map(|flag| &*flag.text) {
            None => (After::Next, is_url(text).then_some(Status::FOUND)),
            Some(b"last") => (After::Last, is_url(text).then_some(Status::FOUND)),
            Some(b"break") => (After::Break, is_url(text).then_some(Status::FOUND)),
            Some(b"redirect") => (After::Last, Some(Status::FOUND)),
            Some(b"permanent") => (After::Last, Some(Status::MOVED_PERMANENTLY)),
            Some(_) => {
                let flag = &directive.args[2];
                return Err(Fault::from(format!("invalid parameter \"{flag}\"")).at(flag.span));
            }
        };
        let replacement = Replacement::read(loader, word, text, status)?;
        Ok(Rewrite { pattern, replacement, keeps_args, after })
    }

    pub fn apply(&'static self, run: &mut Run, request: &mut Request, span: Span) -> Flow {
        let uri = std::mem::take(&mut request.uri);
        let is_match = run.matches(request, &self.pattern, &uri);
        request.uri = uri;
        if !is_match? {
            note(request, span, |_| Outcome::Fails);
            return Flow::Continue(());
        }
        request.internal = true;
        run.is_uri_changed = self.after != After::Break;
        run.escapes_captures = false;
        match &self.replacement {
            Replacement::Redirect { status, url, has_args } => {
                let url = self.redirect_url(request, url, *has_args);
                if run.logs {
                    let url = Text(&url);
                    log!(request.log(), Notice, *request, "rewritten redirect: \"{}\"", url);
                }
                note(request, span, |_| Outcome::Redirect(url.clone()));
                request.response.location = Some(url.into());
                Flow::Break(Step::Status(*status))
            }
            Replacement::Uri { path, args } => {
                self.replace(request, path, args.as_ref());
                note(request, span, |request| Outcome::Uri(request.uri.clone()));
                self.after_replacement(run, request)
            }
        }
    }

    fn redirect_url(&self, request: &mut Request, url: &Script, has_args: bool) -> Vec<u8> {
        let mut url = unescape(&value_of(request, url, true));
        if self.keeps_args && !request.args.is_empty() {
            url.push(if has_args { b'&' } else { b'?' });
            url.extend_from_slice(&request.args);
        }
        url
    }

    fn replace(&self, request: &mut Request, path: &Script, args: Option<&Script>) {
        let uri = path.value(request);
        match args {
            Some(args) => {
                let mut args = value_of(request, args, true);
                if self.keeps_args && !request.args.is_empty() {
                    args.push(b'&');
                    args.extend_from_slice(&request.args);
                }
                request.args = args;
            }
            None if !self.keeps_args => {
                request.has_args |= !request.args.is_empty();
                request.args.clear();
            }
            None => {}
        }
        request.uri = uri;
        request.has_clients_uri = false;
        request.has_left_location = self.after == After::Break;
    }

    fn after_replacement(&self, run: &Run, request: &mut Request) -> Flow {
        if run.logs {
            let (uri, args) = (Text(&request.uri), Text(&request.args));
            let log = request.log();
            log!(log, Notice, *request, "rewritten data: \"{}\", args: \"{}\"", uri, args);
        }
        if request.uri.is_empty() {
            log!(request.log(), Error, *request, "the rewritten URI has a zero length");
            return Flow::Break(Step::Status(Status::INTERNAL_SERVER_ERROR));
        }
        match self.after {
            After::Next => ControlFlow::Continue(()),
            After::Last | After::Break => ControlFlow::Break(run.end()),
        }
    }
}

impl Replacement {
    fn read(
        loader: &mut Loader<'_>,
        word: &conf::Word,
        text: &[u8],
        redirect: Option<Status>,
    ) -> Result<Replacement, Fault> {
        let mut script = |text: &[u8]| {
            let word = conf::Word { text: text.into(), ..word.clone() };
            loader.script(&word)
        };
        let mark = memchr::memchr(b'?', text);
        if let Some(status) = redirect {
            let url = script(text)?;
            return Ok(Replacement::Redirect { status, url, has_args: mark.is_some() });
        }
        let path = script(&text[..mark.unwrap_or(text.len())])?;
        let args = mark.map(|mark| script(&text[mark + 1..])).transpose()?;
        Ok(Replacement::Uri { path, args })
    }
}

/// Whether a replacement, or the argument of `return`, is to be redirected to.
pub(super) fn is_url(text: &[u8]) -> bool {
    [&b"http://"[..], b"https://", b"$scheme"].iter().any(|start| text.starts_with(start))
}

/// nginx's last touch to a redirect: up to the query, what was escaped without need is unescaped, and what is no
/// escape left out.
fn unescape(url: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(url.len());
    let mut rest = url;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'?', _) => {
                out.extend_from_slice(rest);
                break;
            }
            (b'%', [first, second, tail @ ..]) if first.is_ascii_hexdigit() => {
                rest = tail;
                match hex_pair(*first, *second) {
                    Some(b'?') => {
                        out.push(b'?');
                        out.extend_from_slice(tail);
                        break;
                    }
                    Some(plain @ b'&'..=b'~') => out.push(plain),
                    Some(_) => out.extend_from_slice(&[b'%', *first, *second]),
                    None => {}
                }
            }
            (b'%', [first, tail @ ..]) => {
                if !first.is_ascii_hexdigit() {
                    out.push(*first);
                }
                rest = tail;
            }
            (b'%', []) => break,
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

fn hex_pair(first: u8, second: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(first)? * 16 + digit(second)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_unescaped_up_to_its_query_as_far_as_that_is_safe() {
        for (url, expected) in [
            ("http://a/b%20c%2Fd", "http://a/b%20c/d"),
            ("http%3A%2F%2Fa%2F%3Ffrom%3Db", "http://a/?from%3Db"),
            ("/a%0D%0Ab?c%41", "/a%0D%0Ab?c%41"),
            ("/%25%7e%7f", "/%25~%7f"),
            ("/a%zb%4", "/azb"),
        ] {
            assert_eq!(String::from_utf8_lossy(&unescape(url.as_bytes())), expected, "{url}");
        }
    }
}
