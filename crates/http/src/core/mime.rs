//! `types` and `default_type`: from a file's extension to its media type.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Action, Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use foldhash::fast::RandomState;

use crate::module::HttpModule;
use crate::request::Request;

/// Media types by extension in lower case. Clients choose what is looked up, not what is in it, so a quick hash will do.
pub type Types = Arc<HashMap<Vec<u8>, Bytes, RandomState>>;

settings! {
    pub struct Settings {
        types: Types = built_in(),
        default_type: Bytes = Bytes::from_static(b"text/plain"),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

const GROWS: Action = Action::Checked(
    |directive| values::integer::<i64>(directive).map(drop),
    "the tables grow by themselves",
);

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "types" in HTTP_SERVER_LOCATION, Block(0, 0),
                "text/html html; image/gif gif; image/jpeg jpg;", Action::Set(types),
                "Media types, each with the file name extensions that it goes with.";
            "default_type" in HTTP_SERVER_LOCATION, Exactly(1), "text/plain",
                set!(SETTINGS.default_type, |directive| values::bytes(directive).map(Bytes::from)),
                "The media type of files with other extensions.";
            "types_hash_max_size" in HTTP_SERVER_LOCATION, Exactly(1), "1024", GROWS,
                "Accepted: the tables grow by themselves.";
            "types_hash_bucket_size" in HTTP_SERVER_LOCATION, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
        },
    },
    ..HttpModule::EMPTY
};

/// The types where `types` stands nowhere.
fn built_in() -> Types {
    let list = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
    let list =
        list.map(|(extension, kind)| (extension.into(), Bytes::from_static(kind.as_bytes())));
    Arc::new(HashMap::from_iter(list))
}

fn types(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let rows = directive.block.iter().flat_map(|block| &block.directives);
    let earlier = &loader.settings(&SETTINGS).types;
    let mut types = if earlier.is_set() { HashMap::clone(earlier) } else { HashMap::default() };
    for row in rows {
        let kind = Bytes::copy_from_slice(&row.name.text);
        for extension in &row.args {
            let before = types.insert(extension.text.to_ascii_lowercase(), kind.clone());
            if let Some(before) = before.filter(|before| *before != kind) {
                let before = String::from_utf8_lossy(&before);
                let message = format!(
                    "duplicate extension \"{extension}\", content type: \"{}\", previous content type: \"{before}\"",
                    row.name
                );
                loader.warn(extension.span, message);
            }
        }
    }
    loader.settings(&SETTINGS).types.replace(Arc::new(types));
    Ok(())
}

/// Gives the response the media type of the request's URI. One that came with `X-Accel-Redirect` stays.
pub fn set_type(request: &mut Request) {
    if request.response.content_type.is_none() {
        let kind = request.settings(&SETTINGS).type_of(&request.uri);
        request.response.content_type = Some(kind);
    }
}

impl Settings {
    /// The media type of a URI: that of what stands behind the last dot of its last segment, unless that begins with
    /// the dot.
    pub fn type_of(&self, uri: &[u8]) -> Bytes {
        let mark = memchr::memrchr2(b'.', b'/', uri);
        let dot = mark.filter(|at| uri[*at] == b'.' && *at > 0 && uri[*at - 1] != b'/');
        let extension = dot.map(|dot| &uri[dot + 1..]);
        let known = extension.and_then(|extension| self.lookup(extension));
        known.unwrap_or_else(|| Bytes::clone(&self.default_type))
    }

    fn lookup(&self, extension: &[u8]) -> Option<Bytes> {
        if !extension.iter().any(u8::is_ascii_uppercase) {
            return self.types.get(extension).cloned();
        }
        self.types.get(&extension.to_ascii_lowercase()).cloned()
    }
}
