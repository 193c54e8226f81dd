//! `proxy_cache_purge` and its like: what is not to be served any more, by key, prefix, tag, or all of it.
//!
//! A purge is one record in the zone, whatever it matches. It counts from the moment the request is answered: whoever finds
//! an entry that is older than the newest record tests it. Records also stand in a file beside the responses, for the
//! next start; the manager goes through the files, and then both are dropped.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::script::Script;
use daemun_core::setting::Own;

use super::key::{self, Hash, Key};
use super::place::{self, Place, SETTINGS, Slot};
use super::seconds;
use super::settings::holds;
use crate::body::Body;
use crate::module::Step;
use crate::request::Request;
use crate::status::Status;

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A key, with its variants.
    Key(Hash),
    /// Keys that begin so.
    Prefix(Vec<u8>),
    /// Responses whose `Surrogate-Key` or `Cache-Tag` names this.
    Tag(Vec<u8>),
    All,
}

/// A purge as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    pub target: Target,
    /// What it matches is stale, and not gone.
    pub is_soft: bool,
    /// Seconds since 1970.
    pub time: i64,
}

/// What is looked for in a response.
pub struct Subject<'s> {
    pub key: &'s [u8],
    pub main: &'s Hash,
    /// The upstream's head as it is stored.
    pub head: &'s [u8],
    /// When it was stored.
    pub date: i64,
}

/// What became of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Stays,
    Stale,
    Gone,
}

impl Target {
    /// As a record's text.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Target::Key(hash) => [b"K", &hash[..]].concat(),
            Target::Prefix(text) => [b"P", &text[..]].concat(),
            Target::Tag(text) => [b"T", &text[..]].concat(),
            Target::All => b"A".to_vec(),
        }
    }

    pub fn of_text(text: &[u8]) -> Option<Target> {
        let (kind, rest) = text.split_first()?;
        Some(match kind {
            b'K' => Target::Key(rest.try_into().ok()?),
            b'P' => Target::Prefix(rest.to_vec()),
            b'T' => Target::Tag(rest.to_vec()),
            b'A' => Target::All,
            _ => return None,
        })
    }

    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Target::Key(hash) => hash == subject.main,
            Target::Prefix(text) => subject.key.starts_with(text),
            Target::Tag(tag) => tags(subject.head).any(|own| own == tag),
            Target::All => true,
        }
    }
}

/// The tags of a response.
fn tags(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // A record's head may stand in front of the first name.
        let is = |field: &[u8]| {
            name.len() >= field.len()
                && name[name.len() - field.len()..].eq_ignore_ascii_case(field)
        };
        let separator: fn(u8) -> bool = match () {
            () if is(b"surrogate-key") => |byte| byte == b' ',
            () if is(b"cache-tag") => |byte| byte == b',',
            () => return None,
        };
        Some(words(value, separator))
    });
    lines.flatten()
}

fn words(value: &[u8], separator: fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    value
        .split(move |byte| separator(*byte))
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty())
}

// === Directives ===

/// When a request to a cached location purges.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Where one of these has a value other than "0".
    Where(Arc<[Script]>),
    /// By its method, for these clients; `None`: for all.
    Method { name: Vec<u8>, all: bool, from: Option<Arc<[Cidr]>> },
}

/// A location that does nothing but purge.
#[derive(Clone, Debug)]
pub struct Separate {
    slot: Arc<Slot>,
    key: Script,
}

/// Reads `VALUE ...`, `METHOD [purge_all] [from ADDRESS ...]`, or `ZONE KEY`: a location's rule, unless the location itself
/// is for purging.
pub fn read(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    user: &'static str,
) -> Result<Option<Rule>, Fault> {
    let words = &directive.args;
    let first = loader.script(&words[0])?;
    if first.as_literal().is_none() {
        let values: Result<Vec<_>, _> = words.iter().map(|word| loader.script(word)).collect();
        return Ok(Some(Rule::Where(values?.into())));
    }
    let is_method = |word: &conf::Word| word.text.iter().all(u8::is_ascii_uppercase);
    let is_rule = words[0] == "on" || words[0] == "off" || is_method(&words[0]);
    let goes_on = words.get(1).is_none_or(|word| word == "from" || word == "purge_all");
    if !(is_rule && goes_on) && words.len() == 2 {
        let slot = place::slot(loader, &words[0], None, user)?;
        let key = loader.script(&words[1])?;
        loader.settings(&SETTINGS).purges = Own(Some(Separate { slot, key }));
        return Ok(None);
    }
    if words[0] == "off" {
        return Ok(None);
    }
    let name = if words[0] == "on" { b"PURGE".to_vec() } else { words[0].text.to_vec() };
    let mut rest = words[1..].iter().peekable();
    let all = rest.next_if(|word| *word == "purge_all").is_some();
    let from = match rest.next() {
        None => None,
        Some(word) if word == "from" => addresses(rest)?,
        Some(word) => {
            return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
        }
    };
    Ok(Some(Rule::Method { name, all, from }))
}

/// `all`, or addresses and networks.
fn addresses<'w>(
    words: impl Iterator<Item = &'w conf::Word>,
) -> Result<Option<Arc<[Cidr]>>, Fault> {
    let mut list = Vec::new();
    for word in words {
        if word == "all" {
            return Ok(None);
        }
        let (cidr, _) = Cidr::parse(&word.text)
            .ok_or_else(|| Fault::from(format!("invalid parameter \"{word}\"")).at(word.span))?;
        list.push(cidr);
    }
    Ok(Some(list.into()))
}

// === Requests ===

/// Purges, where the request is one for that.
pub fn answer(
    request: &mut Request,
    rule: &'static Rule,
    place: &'static Place,
    key: impl FnOnce(&mut Request) -> Vec<u8>,
) -> Option<Step> {
    let all = match rule {
        Rule::Where(values) => {
            if !holds(request, values) {
                return None;
            }
            false
        }
        Rule::Method { name, all, from } => {
            if request.head.method_name() != name {
                return None;
            }
            let client = request.peer();
            if from.as_ref().is_some_and(|from| !from.iter().any(|one| one.contains(client))) {
                return Some(Step::Status(Status::FORBIDDEN));
            }
            *all
        }
    };
    let key = key(request);
    let targets = if all { vec![Target::All] } else { targets(request, &key) };
    let found = purge(request, place, &targets, &key);
    Some(match rule {
        Rule::Where(_) => {
            request.response.status = Status::NO_CONTENT;
            Step::Respond(Body::Empty)
        }
        Rule::Method { .. } => tell(request, found, &key),
    })
}

/// Answers in a location that is for purging.
pub fn separate(request: &mut Request) -> Step {
    let Some(purges) = &request.settings(&SETTINGS).purges.0 else { return Step::Declined };
    let Some(place) = purges.slot.place.get() else {
        return Step::Status(Status::INTERNAL_SERVER_ERROR);
    };
    let key = purges.key.value(request);
    let targets = targets(request, &key);
    let found = purge(request, place, &targets, &key);
    tell(request, found, &key)
}

/// What a request names: tags in its fields, else its key, which may end with an asterisk.
fn targets(request: &Request, key: &[u8]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (name, value) in request.head.fields() {
        let separator: fn(u8) -> bool = match name.to_ascii_lowercase().as_slice() {
            b"surrogate-key" => |byte| byte == b' ',
            b"cache-tag" => |byte| byte == b',',
            _ => continue,
        };
        targets.extend(words(value, separator).map(|tag| Target::Tag(tag.to_vec())));
    }
    if targets.is_empty() {
        targets.push(match key.strip_suffix(b"*") {
            Some(prefix) => Target::Prefix(prefix.to_vec()),
            None => Target::Key(Key::new(key.to_vec()).main),
        });
    }
    targets
}

/// Purges: whether there was something of that key, as far as that is known at once.
fn purge(request: &Request, place: &Place, targets: &[Target], key: &[u8]) -> bool {
    let is_soft = request.head.fields().any(|(name, value)| {
        let is_it = |soft: &str| name.eq_ignore_ascii_case(soft.as_bytes());
        (is_it("soft-purge") || is_it("fastly-soft-purge")) && value == b"1"
    });
    let mut found = false;
    for target in targets {
        let purge = Purge { target: target.clone(), is_soft, time: seconds() };
        if let Err(error) = append(&place.folder, &purge) {
            let path = place.folder.display();
            log!(request.log(), Crit, *request, "a purge could not be kept in \"{}\"", path; error);
        }
        place.index.purge(&purge);
        found |= match target {
            Target::Key(hash) => {
                let path = place.file(hash);
                match is_soft {
                    true => path.exists(),
                    false => {
                        place.index.lose(hash);
                        fs::remove_file(path).is_ok()
                    }
                }
            }
            _ => true,
        };
    }
    let text = crate::request::Text(key);
    log!(request.log(), Notice, *request, "cache \"{}\" purged: \"{}\"", place.index.name(), text);
    found
}

fn tell(request: &mut Request, found: bool, key: &[u8]) -> Step {
    if !found {
        return Step::Status(Status::PRECONDITION_FAILED);
    }
    let mut text = b"<html>\r\n<head><title>Successful purge</title></head>\r\n<body>\r\n<center><h1>Successful purge</h1>\r\n<p>Key : ".to_vec();
    for byte in key {
        match byte {
            b'<' => text.extend_from_slice(b"&lt;"),
            b'>' => text.extend_from_slice(b"&gt;"),
            b'&' => text.extend_from_slice(b"&amp;"),
            byte => text.push(*byte),
        }
    }
    text.extend_from_slice(b"</p>\r\n</center>\r\n</body>\r\n</html>\r\n");
    request.response.status = Status::OK;
    request.response.content_type = Some(Bytes::from_static(b"text/html"));
    Step::Respond(Body::bytes(text))
}

// === The file ===

const FILE: &str = ".daemun-purges";

/// Adds a purge to those that the next start has to know of.
fn append(folder: &Path, purge: &Purge) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(folder.join(FILE))?;
    file.write_all(line(purge).as_bytes())
}

fn line(purge: &Purge) -> String {
    let hex: String = purge.target.text().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("1 {} {} {hex}\n", purge.time, u8::from(purge.is_soft))
}

/// The purges that a former server has left.
pub fn load(folder: &Path) -> Vec<Purge> {
    let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
    text.lines().filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Purge> {
    let [version, time, soft, hex] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let text: Vec<u8> = digits.collect::<Option<_>>()?;
    let target = Target::of_text(&text)?;
    (version == "1").then_some(Purge { target, is_soft: soft == "1", time: time.parse().ok()? })
}

/// Leaves only these for the next start.
pub fn store(folder: &Path, purges: &[Purge]) -> io::Result<()> {
    let path = folder.join(FILE);
    if purges.is_empty() {
        return fs::remove_file(path);
    }
    let new = folder.join(format!("{FILE}.new"));
    fs::write(&new, purges.iter().map(line).collect::<String>())?;
    fs::rename(new, path)
}

/// Whether a name in the cache's folder is of purges.
pub fn is_own(name: &[u8]) -> bool {
    name.starts_with(FILE.as_bytes())
}

/// The key of a file, whose hash is made anew, for all variants are purged together.
pub fn main_of(key: &[u8]) -> Hash {
    key::Key::new(key.to_vec()).main
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nSurrogate-Key: one  two\r\ncache-tag: a b, c\r\n\r\n";

    fn matches(target: Target) -> bool {
        let main = Key::new(b"http://o/a/b".to_vec()).main;
        target.matches(&Subject { key: b"http://o/a/b", main: &main, head: HEAD, date: 0 })
    }

    #[test]
    fn responses_are_found_by_key_prefix_and_tag() {
        assert!(matches(Target::Key(Key::new(b"http://o/a/b".to_vec()).main)));
        assert!(!matches(Target::Key([0; 16])));
        assert!(matches(Target::Prefix(b"http://o/a".to_vec())));
        assert!(!matches(Target::Prefix(b"http://o/b".to_vec())));
        for (tag, is_one) in
            [("one", true), ("two", true), ("a b", true), ("c", true), ("a", false)]
        {
            assert_eq!(matches(Target::Tag(tag.into())), is_one, "{tag}");
        }
        assert!(matches(Target::All));
    }

    #[test]
    fn purges_are_read_as_they_were_written() {
        for target in [
            Target::Key([7; 16]),
            Target::Prefix(b"http://\n \xff".to_vec()),
            Target::Tag(b"t".to_vec()),
            Target::All,
        ] {
            let purge = Purge { target, is_soft: true, time: 12 };
            assert_eq!(read_line(line(&purge).trim_end()), Some(purge));
        }
        for bad in ["", "1 2 3", "2 1 0 41", "1 x 0 41", "1 1 0 zz", "1 1 0 58", "1 1 0 4b00"] {
            assert_eq!(read_line(bad), None, "{bad}");
        }
    }
}
