//! Lists of media types, as `gzip_types` and its like have them.

use std::collections::HashSet;
use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};

use crate::response::ResponseHead;

/// The media types that a filter is for.
#[derive(Clone, Debug)]
pub enum TypeSet {
    Any,
    /// In lower case.
    Only(Arc<HashSet<Vec<u8>>>),
}

impl TypeSet {
    pub fn of(types: &[&str]) -> TypeSet {
        TypeSet::Only(Arc::new(types.iter().map(|kind| kind.as_bytes().to_vec()).collect()))
    }

    /// HTML, what most filters are for by default.
    pub fn html() -> TypeSet {
        TypeSet::of(&["text/html"])
    }

    /// The types that a directive adds to those that are always meant; `*` is every type.
    pub fn read(
        loader: &mut Loader<'_>,
        directive: &conf::Directive,
        always: &[&str],
    ) -> Result<TypeSet, Fault> {
        let mut types: HashSet<Vec<u8>> =
            always.iter().map(|kind| kind.as_bytes().to_vec()).collect();
        for word in &directive.args {
            if word == "*" {
                return Ok(TypeSet::Any);
            }
            if !types.insert(word.text.to_ascii_lowercase()) {
                loader.warn(word.span, format!("duplicate MIME type \"{word}\""));
            }
        }
        Ok(TypeSet::Only(Arc::new(types)))
    }

    /// Whether the response is of one of the types.
    pub fn has(&self, response: &ResponseHead) -> bool {
        let TypeSet::Only(types) = self else {
            return true;
        };
        let Some(kind) = &response.content_type else {
            return false;
        };
        match kind.iter().any(u8::is_ascii_uppercase) {
            true => types.contains(&kind.to_ascii_lowercase()),
            false => types.contains(&**kind),
        }
    }
}

/// The action of a row whose list of types goes to a setting, added to `text/html`.
#[macro_export]
macro_rules! set_types {
    ($key:ident . $field:ident) => {
        $crate::set_types!($key.$field, &["text/html"])
    };
    ($key:ident . $field:ident, $always:expr) => {
        Action::Set(|loader, directive| {
            let types = $crate::type_set::TypeSet::read(loader, directive, $always)?;
            loader.settings(&$key).$field.set(types)?;
            Ok(())
        })
    };
}
