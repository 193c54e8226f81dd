//! Variants: responses of one key that differ with fields of the request.

use md5::{Digest, Md5};

use super::key::Hash;
use crate::head::RequestHead;

/// The hash of a variant: of the main key, and of what the request has in the fields that `vary` names.
pub fn variant(main: &Hash, vary: &[u8], head: &RequestHead) -> Hash {
    let mut hash = Md5::new();
    hash.update(main);
    for name in words(vary) {
        let name = name.to_ascii_lowercase();
        hash.update(&name);
        hash.update(b":");
        add_values(&mut hash, &name, head);
        hash.update(b"\r\n");
    }
    hash.finalize().into()
}

fn add_values(hash: &mut Md5, name: &[u8], head: &RequestHead) {
    // Blanks and empty elements of these mean nothing.
    let is_list = matches!(name, b"accept-charset" | b"accept-encoding" | b"accept-language");
    let mut is_first = true;
    let mut add = |value: &[u8]| {
        if !std::mem::take(&mut is_first) {
            hash.update(b",");
        }
        hash.update(value);
    };
    for (_, value) in head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(name)) {
        match is_list {
            true => words(value).for_each(&mut add),
            false => add(value),
        }
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b',')).filter(|word| !word.is_empty())
}
