//! A location's header, as its words say it.

use super::Scope;

/// What a location takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Header<'o> {
    Exact(&'o [u8]),
    Prefix {
        name: &'o [u8],
        /// `^~`
        outranks: bool,
    },
    Pattern {
        text: &'o [u8],
        caseless: bool,
    },
    Named(&'o [u8]),
}

impl<'o> Header<'o> {
    /// `None` for a block that is no location.
    pub fn of(scope: Scope<'o>) -> Option<Header<'o>> {
        if scope.name() != "location" {
            return None;
        }
        let words: Vec<&[u8]> = scope.arguments().iter().map(|word| &*word.text).collect();
        Some(match *words {
            [b"=", name] | [[b'=', name @ ..]] => Header::Exact(name),
            [b"^~", name] | [[b'^', b'~', name @ ..]] => Header::Prefix { name, outranks: true },
            [b"~*", text] | [[b'~', b'*', text @ ..]] => Header::Pattern { text, caseless: true },
            [b"~", text] | [[b'~', text @ ..]] => Header::Pattern { text, caseless: false },
            [name @ [b'@', ..]] => Header::Named(name),
            [name] => Header::Prefix { name, outranks: false },
            _ => return None,
        })
    }
}
