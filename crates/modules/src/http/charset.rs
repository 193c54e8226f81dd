//! `charset`: names the character set of responses, and recodes them from another.
//!
//! ```nginx
//! charset        utf-8;
//! source_charset koi8-r;
//! charset_map koi8-r utf-8 {
//!     C1 D0B0;
//!     C2 D0B1;
//! }
//! ```

mod recode;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};
use daemun_http::body::{Body, Chunk};
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::{Request, Text};
use daemun_http::set_types;
use daemun_http::source::{self, Transform};
use daemun_http::status::Status;
use daemun_http::type_set::TypeSet;

use super::{fastcgi, grpc, proxy, scgi, uwsgi};
use recode::{Map, Recoder};

settings! {
    pub struct Settings {
        /// What responses are in, as far as it is told; `None`: nothing is told.
        target: Option<Script> = None,
        /// What files are in; `None`: the same.
        source: Option<Script> = None,
        /// What another server tells is replaced.
        overrides: bool = false,
        types: TypeSet = TypeSet::of(TYPES),
        /// Of the whole `http` block.
        maps: Vec<Arc<Map>> = Vec::new(),
        /// The character sets that the configuration names, wherever it does.
        named: Vec<Bytes> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

const TYPES: &[&str] = &[
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
];

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_charset_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "charset" in HTTP_TO_IF, Exactly(1), "off", Action::Set(charset),
                "The character set that responses tell, and are recoded to.";
            "source_charset" in HTTP_TO_IF, Exactly(1), "off", Action::Set(source_charset),
                "The character set that responses are recoded from.";
            "override_charset" in HTTP_TO_IF, Flag, "off", set!(SETTINGS.overrides, values::flag),
                "Whether responses are recoded that tell of a character set themselves.";
            "charset_types" in HTTP_SERVER_LOCATION, AtLeast(1),
                "text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml",
                set_types!(SETTINGS.types),
                "Media types that a character set is told for besides text/html.";
            "charset_map" in HTTP, Block(2, 2), "", Action::Set(charset_map),
                "How the bytes of one character set are spelt in another.";
        },
    },
    filters: &[Filter { applies, apply: Apply::Now(filter) }],
    check,
    ..HttpModule::EMPTY
};

/// Where a charset is named, or an upstream may name one.
fn applies(settings: &SettingsSet) -> bool {
    let passing = [&proxy::MODULE, &grpc::MODULE, &fastcgi::MODULE, &scgi::MODULE, &uwsgi::MODULE];
    !settings.of(&SETTINGS).named.is_empty()
        || passing.iter().any(|module| (module.passes)(settings))
}

impl Settings {
    fn knows(&self, name: &[u8]) -> bool {
        self.named.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Two sets that are known by name have a map between them.
fn check(settings: &SettingsSet) -> Result<(), String> {
    let settings = settings.of(&SETTINGS);
    let (Some(source), Some(target)) = (&*settings.source, &*settings.target) else {
        return Ok(());
    };
    let (Some(source), Some(target)) = (source.as_literal(), target.as_literal()) else {
        return Ok(());
    };
    let is_possible = source.eq_ignore_ascii_case(target)
        || settings.maps.iter().any(|map| map.recoder(source, target).is_some());
    match is_possible {
        true => Ok(()),
        false => Err(format!(
            "no \"charset_map\" between the charsets \"{}\" and \"{}\"",
            Text(source),
            Text(target)
        )),
    }
}

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    let Some(target) = target(request, settings) else {
        return Ok(body);
    };
    let source = match &request.response.charset {
        Some(told) => Some(told.clone()),
        None => settings.source.as_ref().map(|source| source.value(request).into()),
    };
    let Some(source) = source.filter(|source| !source.eq_ignore_ascii_case(&target)) else {
        tell(request, target);
        return Ok(body);
    };
    if request.response.is_encoded() {
        return Ok(body);
    }
    let Some(recoder) = settings.maps.iter().find_map(|map| map.recoder(&source, &target)) else {
        log!(
            request.log(),
            Error,
            *request,
            "no \"charset_map\" between the charsets \"{}\" and \"{}\"",
            Text(&source),
            Text(&target)
        );
        return Ok(body);
    };
    tell(request, target);
    if !recoder.keeps_length() && !request.is_subrequest() {
        request.response.content_length = None;
    }
    // What is there can be cut into ranges afterwards.
    if let Body::One(Chunk::Bytes(bytes)) = &body {
        let (mut recoder, mut out) = (recoder, Vec::with_capacity(bytes.len()));
        recoder.recode(bytes, &mut out);
        return Ok(Body::bytes(out));
    }
    Ok(source::transformed(body, recoder))
}

/// Whether the response, whose type is settled, will tell that it is in UTF-8.
pub(super) fn is_utf8(request: &mut Request) -> bool {
    let settings = request.settings(&SETTINGS);
    let charset = target(request, settings).or_else(|| request.response.charset.clone());
    charset.is_some_and(|charset| charset.eq_ignore_ascii_case(b"utf-8"))
}

/// What the response is to be in. A subrequest's is in what its main request's is.
fn target(request: &mut Request, settings: &Settings) -> Option<Bytes> {
    if request.is_subrequest() {
        return request.main_charset.clone();
    }
    request.response.content_type.as_ref().filter(|kind| !kind.is_empty())?;
    if let Some(told) = request.upstream.as_ref().and_then(|record| record.charset.clone())
        && !told.is_empty()
    {
        let is_known = settings.knows(&told);
        if !is_known {
            log!(request.log(), Error, *request, "unknown charset \"{}\" to override", Text(&told));
        }
        return is_known.then_some(told);
    }
    let target = settings.target.as_ref()?;
    let takes_part = match &request.response.charset {
        Some(_) => *settings.overrides,
        None => settings.types.has(&request.response),
    };
    let target = takes_part.then(|| target.value(request))?;
    (!target.is_empty()).then(|| target.into())
}

/// Not with redirects: old browsers would take it for the next page's.
fn tell(request: &mut Request, charset: Bytes) {
    let is_redirect = matches!(request.response.status, Status::MOVED_PERMANENTLY | Status::FOUND);
    if !request.is_subrequest() {
        request.response.charset = Some(charset).filter(|_| !is_redirect);
        request.response.spelt_type = None;
    }
}

impl Transform for Recoder {
    fn feed(&mut self, _: &mut Request, input: Bytes, out: &mut Vec<u8>) -> io::Result<()> {
        self.recode(&input, out);
        Ok(())
    }

    fn finish(&mut self, _: &mut Request, _: &mut Vec<u8>) -> io::Result<()> {
        Ok(())
    }
}

fn charset(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = name(loader, directive)?;
    loader.settings(&SETTINGS).target.set(name)?;
    Ok(())
}

fn source_charset(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = name(loader, directive)?;
    loader.settings(&SETTINGS).source.set(name)?;
    Ok(())
}

fn name(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<Script>, Fault> {
    let word = &directive.args[0];
    if word == "off" && directive.name == "charset" {
        return Ok(None);
    }
    let name = loader.script(word)?;
    note(loader, word);
    Ok(Some(name))
}

/// Remembers the name of a character set for responses that ask for it.
fn note(loader: &mut Loader<'_>, word: &conf::Word) {
    let name = Bytes::copy_from_slice(&word.text);
    loader.main_settings(&SETTINGS).named.modify().push(name);
}

fn charset_map(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [source, target] = &*directive.args else {
        return Err("invalid value".into());
    };
    if source.text.eq_ignore_ascii_case(&target.text) {
        return Err(format!(
            "\"charset_map\" between the same charsets \"{source}\" and \"{target}\""
        )
        .into());
    }
    if source.text.eq_ignore_ascii_case(b"utf-8") {
        let sentence =
            "\"charset_map\" with \"utf-8\" charset should be given in the second column";
        return Err(sentence.to_owned().into());
    }
    note(loader, source);
    note(loader, target);
    let maps = loader.settings(&SETTINGS).maps.modify();
    if maps.iter().any(|map| map.is_between(&source.text, &target.text)) {
        return Err(
            format!("duplicate \"charset_map\" between \"{source}\" and \"{target}\"").into()
        );
    }
    let mut map = Map::new(&source.text, &target.text);
    let mut is_sound = true;
    for row in directive.block.iter().flat_map(|block| &block.directives) {
        if let Err(fault) = add_row(&mut map, row) {
            loader.diagnostics.emerg(fault, row.name.span);
            is_sound = false;
        }
    }
    if is_sound {
        loader.settings(&SETTINGS).maps.modify().push(Arc::new(map));
    }
    Ok(())
}

fn add_row(map: &mut Map, row: &conf::Directive) -> Result<(), String> {
    let [target] = &*row.args else {
        return Err("invalid parameters number".to_owned());
    };
    let source = recode::hexadecimal(&row.name.text).and_then(|number| u8::try_from(number).ok());
    let Some(source) = source else {
        return Err(format!("invalid value \"{}\"", row.name));
    };
    map.add(source, &target.text).ok_or_else(|| format!("invalid value \"{target}\""))
}
