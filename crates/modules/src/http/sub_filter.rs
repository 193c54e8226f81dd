//! `sub_filter`: replaces text in responses.
//!
//! ```nginx
//! sub_filter      '<a href="http://127.0.0.1:8080/' '<a href="https://$host/';
//! sub_filter      '</head>' '<script src="/counter.js"></script></head>';
//! sub_filter_once off;
//! ```

use std::io;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::source::{self, Transform};
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;

/// What to look for, in any case, and what to put in its place.
#[derive(Clone)]
struct Pair {
    text: Script,
    replacement: Script,
}

settings! {
    pub struct Settings {
        pairs: Vec<Pair> = Vec::new(),
        types: TypeSet = TypeSet::html(),
        /// Each text is replaced once a response.
        once: bool = true,
        /// The time of last modification is kept.
        last_modified: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_sub_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "sub_filter" in HTTP_SERVER_LOCATION, Exactly(2), "", Action::Set(sub_filter),
                "A text to replace in responses, and what to put in its place.";
            "sub_filter_types" in HTTP_SERVER_LOCATION, AtLeast(1), "",
                set_types!(SETTINGS.types),
                "Media types in which text is replaced besides text/html.";
            "sub_filter_once" in HTTP_SERVER_LOCATION, Flag, "on", set!(SETTINGS.once, values::flag),
                "Whether each text is looked for once or repeatedly.";
            "sub_filter_last_modified" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.last_modified, values::flag),
                "Whether Last-Modified is kept.";
        },
    },
    filters: &[Filter {
        applies: |settings| !settings.of(&SETTINGS).pairs.is_empty(),
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

/// How many texts may be replaced.
const MAX_PAIRS: usize = 255;

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if request.response.content_length == Some(0) || !settings.types.has(&request.response) {
        return Ok(body);
    }
    let texts = settings.pairs.iter().map(|pair| (pair.text.value(request), &pair.replacement));
    let texts: Vec<_> = texts.filter(|(text, _)| !text.is_empty()).collect();
    if texts.is_empty() {
        return Ok(body);
    }
    if !request.is_subrequest() {
        let response = &mut request.response;
        response.content_length = None;
        // an upstream's own Accept-Ranges stays, as in nginx
        response.allows_ranges = false;
        if *settings.last_modified {
            response.weaken_etag();
        } else {
            response.last_modified = None;
            response.etag = None;
        }
    }
    Ok(source::transformed(body, Substitution::new(texts, *settings.once)))
}

struct Substitution {
    needles: Vec<Needle>,
    /// Which bytes some needle begins with, in any case.
    begins: [bool; 256],
    once: bool,
    /// How many needles have not been found yet.
    left: usize,
    /// The end of the input so far, with which a needle may begin.
    held: Vec<u8>,
}

struct Needle {
    /// In lower case.
    text: Vec<u8>,
    replacement: &'static Script,
    /// What the replacement is, once it was needed.
    value: Option<Vec<u8>>,
}

/// What stands at a place of the input.
enum Found {
    Needle(usize),
    /// The beginning of a needle, and then the input ends.
    Beginning,
    Nothing,
}

impl Substitution {
    fn new(texts: Vec<(Vec<u8>, &'static Script)>, once: bool) -> Substitution {
        let mut begins = [false; 256];
        let needles: Vec<Needle> = texts
            .into_iter()
            .map(|(mut text, replacement)| {
                text.make_ascii_lowercase();
                begins[usize::from(text[0])] = true;
                begins[usize::from(text[0].to_ascii_uppercase())] = true;
                Needle { text, replacement, value: None }
            })
            .collect();
        Substitution { left: needles.len(), needles, begins, once, held: Vec::new() }
    }

    /// The first needle of the list that the input goes on with, or may go on with.
    fn find(&self, input: &[u8]) -> Found {
        for (index, needle) in self.needles.iter().enumerate() {
            if self.once && needle.value.is_some() {
                continue;
            }
            let length = needle.text.len().min(input.len());
            if !input[..length].eq_ignore_ascii_case(&needle.text[..length]) {
                continue;
            }
            return if length == needle.text.len() {
                Found::Needle(index)
            } else {
                Found::Beginning
            };
        }
        Found::Nothing
    }

    /// Appends the input with its needles replaced; what is left over is the beginning of one. `value` computes a
    /// replacement.
    fn replace<'i>(
        &mut self,
        input: &'i [u8],
        out: &mut Vec<u8>,
        mut value: impl FnMut(&Script) -> Vec<u8>,
    ) -> &'i [u8] {
        let mut copied = 0;
        let mut at = 0;
        while at < input.len() && self.left > 0 {
            let begins = input[at..].iter().position(|byte| self.begins[usize::from(*byte)]);
            let Some(skipped) = begins else { break };
            at += skipped;
            match self.find(&input[at..]) {
                Found::Nothing => at += 1,
                Found::Beginning => {
                    out.extend_from_slice(&input[copied..at]);
                    return &input[at..];
                }
                Found::Needle(index) => {
                    out.extend_from_slice(&input[copied..at]);
                    let needle = &mut self.needles[index];
                    let replacement = needle.value.get_or_insert_with(|| value(needle.replacement));
                    out.extend_from_slice(replacement);
                    at += needle.text.len();
                    copied = at;
                    self.left -= usize::from(self.once);
                }
            }
        }
        out.extend_from_slice(&input[copied..]);
        &[]
    }
}

impl Transform for Substitution {
    fn feed(&mut self, request: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        let value = |script: &Script| script.value(request);
        if self.held.is_empty() {
            self.held = self.replace(&input, out, value).to_vec();
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.held);
        joined.extend_from_slice(&input);
        self.held = self.replace(&joined, out, value).to_vec();
        Ok(())
    }

    fn finish(&mut self, _: &mut Request, out: &mut Vec<u8>) -> io::Result<()> {
        out.append(&mut self.held);
        Ok(())
    }
}

fn sub_filter(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [text, replacement] = &*directive.args else {
        return Err("invalid value".into());
    };
    if text.text.is_empty() {
        return Err("empty search pattern".to_owned().into());
    }
    let text = loader.script(text)?;
    let replacement = loader.script(replacement)?;
    let pairs = loader.settings(&SETTINGS).pairs.modify();
    if pairs.len() == MAX_PAIRS {
        return Err(format!("number of search patterns exceeds {MAX_PAIRS}").into());
    }
    pairs.push(Pair { text, replacement });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replaces in input that comes in pieces of every size.
    fn check(pairs: &[(&str, &str)], once: bool, input: &str, expected: &str) {
        for size in 1..=input.len() {
            let texts = pairs.iter().map(|(text, replacement)| {
                let script: &Script = Box::leak(Box::new(Script::literal(replacement.as_bytes())));
                (text.as_bytes().to_vec(), script)
            });
            let mut substitution = Substitution::new(texts.collect(), once);
            let (mut out, mut held) = (Vec::new(), Vec::new());
            for piece in input.as_bytes().chunks(size) {
                held.extend_from_slice(piece);
                let value = |script: &Script| script.as_literal().unwrap().to_vec();
                held = substitution.replace(&held.clone(), &mut out, value).to_vec();
            }
            out.append(&mut held);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn texts_are_found_wherever_the_input_is_cut() {
        check(&[("foo", "bar")], false, "afoofofoob FOO fo", "abarfobarb bar fo");
        check(&[("foo", "bar")], true, "foo foo", "bar foo");
        check(&[("aab", "x")], false, "aaab aaaab", "ax aax");
        check(&[("a", "1"), ("b", "2"), ("abc", "3")], false, "abc b", "12c 2");
        check(&[("abc", "3"), ("a", "1")], false, "abc ab abd", "3 1b 1bd");
        check(&[("a", "1"), ("b", "2")], true, "abab", "12ab");
        check(&[("a", "")], false, "banana", "bnn");
    }
}
