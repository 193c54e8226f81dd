//! `add_header`, `add_trailer` and `expires`: fields that the configuration adds to responses.
//!
//! ```nginx
//! location /static/ {
//!     expires            30d;
//!     add_header         X-Content-Type-Options nosniff always;
//!     add_header_inherit merge;
//!     add_trailer        Server-Timing "total;dur=$request_time";
//! }
//! ```

mod expires;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::setting::{Inherit, Setting};
use daemun_core::{directives, settings, values};
use daemun_http::body::Body;
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::Request;
use daemun_http::response::{Header, LastModified, Trailer};
use daemun_http::status::Status;

use expires::Expires;

/// What becomes of the additions of the block around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InheritMode {
    Off,
    /// They count where the block has none of its own.
    On,
    Merge,
}

/// Fields to add, in the file's order.
struct Additions<T> {
    mode: Setting<InheritMode>,
    list: Vec<T>,
}

impl<T> Default for Additions<T> {
    fn default() -> Self {
        Additions { mode: Setting::new(InheritMode::On), list: Vec::new() }
    }
}

impl<T: Clone> Inherit for Additions<T> {
    fn inherit(&mut self, outer: &Self) {
        self.mode.inherit(&outer.mode);
        match *self.mode {
            InheritMode::Off => {}
            InheritMode::On if !self.list.is_empty() => {}
            InheritMode::On | InheritMode::Merge => self.list.extend_from_slice(&outer.list),
        }
    }
}

/// What a field of that name does with one that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    ReplaceLastModified,
    ReplaceEtag,
}

#[derive(Clone)]
struct Addition {
    name: Bytes,
    value: Value,
    kind: Kind,
    always: bool,
}

#[derive(Clone)]
enum Value {
    Fixed(Bytes),
    Computed(Script),
}

settings! {
    pub struct Settings {
        expires: Expires = Expires::Off,
        headers: Additions<Addition>,
        trailers: Additions<Trailer>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_headers_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "add_header" in HTTP_TO_IF, Between(2, 3), "", Action::Set(add_header),
                "Adds a field to responses; with always, to errors too.";
            "add_trailer" in HTTP_TO_IF, Between(2, 3), "", Action::Set(add_trailer),
                "Adds a field behind the bodies of responses; with always, of errors too.";
            "add_header_inherit" in HTTP_TO_IF, Exactly(1), "on", Action::Set(add_header_inherit),
                "Whether fields of the block around are added: off, on where there are none here, or merge.";
            "add_trailer_inherit" in HTTP_TO_IF, Exactly(1), "on", Action::Set(add_trailer_inherit),
                "Whether trailers of the block around are added: off, on where there are none here, or merge.";
            "expires" in HTTP_TO_IF, Between(1, 2), "off", Action::Set(set_expires),
                "How long responses stay fresh, told by Expires and Cache-Control.";
        },
    },
    filters: &[Filter { applies, apply: Apply::Now(apply) }],
    ..HttpModule::EMPTY
};

fn applies(settings: &SettingsSet) -> bool {
    let settings = settings.of(&SETTINGS);
    !matches!(*settings.expires, Expires::Off)
        || !settings.headers.list.is_empty()
        || !settings.trailers.list.is_empty()
}

fn apply(request: &mut Request, body: Body) -> Result<Body, Status> {
    if request.is_subrequest() {
        return Ok(body);
    }
    let settings = request.settings(&SETTINGS);
    let is_safe = is_safe(request.response.status);
    if is_safe {
        expires::apply(&settings.expires, request);
    }
    for addition in settings.headers.list.iter().filter(|addition| is_safe || addition.always) {
        let value = match &addition.value {
            Value::Fixed(value) => value.clone(),
            Value::Computed(script) => script.boxed(request).into(),
        };
        add(request, addition, value);
    }
    let trailers = settings.trailers.list.iter().filter(|trailer| is_safe || trailer.always);
    request.response.trailers.extend(trailers);
    Ok(body)
}

/// The statuses whose responses take what is not marked `always`.
fn is_safe(status: Status) -> bool {
    matches!(status.0, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308)
}

fn add(request: &mut Request, addition: &Addition, value: Bytes) {
    let response = &mut request.response;
    match addition.kind {
        Kind::Add if value.is_empty() => {}
        Kind::Add => response.headers.push(Header { name: addition.name.clone(), value }),
        Kind::ReplaceEtag if value.is_empty() => response.etag = None,
        Kind::ReplaceEtag => {
            // a file's own stands before all others
            let at = if response.etag.is_some() { 0 } else { response.headers.len() };
            response.etag = Some(value);
            response.place(&addition.name, at);
        }
        Kind::ReplaceLastModified if value.is_empty() => response.last_modified = None,
        Kind::ReplaceLastModified => {
            response.last_modified = Some(LastModified::spelt(value));
            response.place(&addition.name, response.headers.len());
        }
    }
}

fn add_header(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let always = read_always(directive)?;
    let name = Bytes::copy_from_slice(&directive.args[0].text);
    let script = loader.script(&directive.args[1])?;
    let value = match script.as_literal() {
        Some(text) => Value::Fixed(Bytes::copy_from_slice(text)),
        None => Value::Computed(script),
    };
    let kind = match name.to_ascii_lowercase().as_slice() {
        b"last-modified" => Kind::ReplaceLastModified,
        b"etag" => Kind::ReplaceEtag,
        _ => Kind::Add,
    };
    let addition = Addition { name, value, kind, always };
    loader.settings(&SETTINGS).headers.list.push(addition);
    Ok(())
}

fn add_trailer(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let always = read_always(directive)?;
    let name = Bytes::copy_from_slice(&directive.args[0].text);
    let value = loader.script(&directive.args[1])?;
    let trailer = Trailer { name, value, always };
    loader.settings(&SETTINGS).trailers.list.push(trailer);
    Ok(())
}

fn read_always(directive: &conf::Directive) -> Result<bool, Fault> {
    match directive.args.get(2) {
        None => Ok(false),
        Some(word) if word == "always" => Ok(true),
        Some(word) => Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)),
    }
}

fn add_header_inherit(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mode = read_mode(directive)?;
    loader.settings(&SETTINGS).headers.mode.set(mode)?;
    Ok(())
}

fn add_trailer_inherit(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let mode = read_mode(directive)?;
    loader.settings(&SETTINGS).trailers.mode.set(mode)?;
    Ok(())
}

fn read_mode(directive: &conf::Directive) -> Result<InheritMode, Fault> {
    use InheritMode::*;
    values::choice(directive, &[("off", Off), ("on", On), ("merge", Merge)])
}

fn set_expires(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let expires = expires::read(loader, directive)?;
    loader.settings(&SETTINGS).expires.set(expires)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn additions(mode: Option<InheritMode>, list: &[u8]) -> Additions<u8> {
        let mut additions = Additions { list: list.to_vec(), ..Additions::default() };
        if let Some(mode) = mode {
            additions.mode.set(mode).unwrap();
        }
        additions
    }

    #[test]
    fn inner_additions_replace_or_join_outer_ones() {
        let outer = additions(None, &[1]);
        let inherited = |mode, list: &[u8]| {
            let mut inner = additions(mode, list);
            inner.inherit(&outer);
            inner.list
        };
        assert_eq!(inherited(None, &[]), [1]);
        assert_eq!(inherited(None, &[2]), [2]);
        assert_eq!(inherited(Some(InheritMode::Merge), &[2]), [2, 1]);
        assert_eq!(inherited(Some(InheritMode::Off), &[]), []);
    }

    #[test]
    fn the_mode_itself_is_inherited() {
        let mut inner = additions(None, &[2]);
        inner.inherit(&additions(Some(InheritMode::Merge), &[1]));
        assert_eq!(inner.list, [2, 1]);
    }
}
