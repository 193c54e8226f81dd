//! Unicode properties. Without UTF a byte is the code point of its number, so that a property is a set of bytes.

use crate::byte_set::{ByteSet, word_bytes};
use crate::cursor::Cursor;
use crate::error::Fault;

/// Reads a property after `\p` or, `negated`, after `\P`: `\pN`, `\p{Lu}`, `\p{^Lu}`.
pub(crate) fn property(cursor: &mut Cursor<'_>, negated: bool) -> Result<ByteSet, Fault> {
    let malformed = "malformed \\P or \\p sequence";
    let rest = cursor.rest();
    let (name, inverted) = match cursor.next() {
        None => return Fault::syntax(malformed, cursor.at()),
        Some(b'{') => {
            let inverted = cursor.eat(b'^');
            let name = cursor.take_while(|byte| byte != b'}');
            if !cursor.eat(b'}') {
                return Fault::syntax(malformed, cursor.at());
            }
            (name, inverted)
        }
        Some(_) => (&rest[..1], false),
    };
    let significant = name.iter().filter(|byte| !matches!(byte, b' ' | b'-' | b'_'));
    let name: String = significant.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    let Some(set) = set_of(&name) else {
        return Fault::unsupported(format!("the Unicode property \"{name}\""));
    };
    Ok(if negated != inverted { set.complement() } else { set })
}

/// General categories, and PCRE2's own properties.
fn set_of(name: &str) -> Option<ByteSet> {
    Some(match name {
        "any" => ByteSet::ALL,
        "l&" | "lc" => category("lu").union(category("ll")),
        "xan" => category("l").union(category("n")),
        "xsp" | "xps" => {
            category("z").union(ByteSet::range(b'\t'..=b'\r')).union(ByteSet::of(&[0x85]))
        }
        "xwd" => category("l").union(category("n")).union(word_bytes()),
        "l" | "m" | "n" | "p" | "s" | "z" | "c" => category(name),
        "lt" | "lm" | "mc" | "me" | "mn" | "nl" | "zl" | "zp" | "cn" | "co" | "cs" => {
            ByteSet::default()
        }
        _ if CATEGORIES.iter().any(|(category, _)| *category == name) => category(name),
        _ => return None,
    })
}

/// The bytes of a category, or of all that begin with its letter.
fn category(name: &str) -> ByteSet {
    let parts = CATEGORIES.iter().filter(|(category, _)| category.starts_with(name));
    let ranges = parts.flat_map(|(_, ranges)| *ranges);
    ranges.fold(ByteSet::default(), |set, (first, last)| set.union(ByteSet::range(*first..=*last)))
}

/// The general categories of U+0000 to U+00FF (Unicode's DerivedGeneralCategory).
const CATEGORIES: &[(&str, &[(u8, u8)])] = &[
    ("cc", &[(0x00, 0x1f), (0x7f, 0x9f)]),
    ("cf", &[(0xad, 0xad)]),
    ("ll", &[(0x61, 0x7a), (0xb5, 0xb5), (0xdf, 0xf6), (0xf8, 0xff)]),
    ("lo", &[(0xaa, 0xaa), (0xba, 0xba)]),
    ("lu", &[(0x41, 0x5a), (0xc0, 0xd6), (0xd8, 0xde)]),
    ("nd", &[(0x30, 0x39)]),
    ("no", &[(0xb2, 0xb3), (0xb9, 0xb9), (0xbc, 0xbe)]),
    ("pc", &[(0x5f, 0x5f)]),
    ("pd", &[(0x2d, 0x2d)]),
    ("pe", &[(0x29, 0x29), (0x5d, 0x5d), (0x7d, 0x7d)]),
    ("pf", &[(0xbb, 0xbb)]),
    ("pi", &[(0xab, 0xab)]),
    (
        "po",
        &[
            (0x21, 0x23),
            (0x25, 0x27),
            (0x2a, 0x2a),
            (0x2c, 0x2c),
            (0x2e, 0x2f),
            (0x3a, 0x3b),
            (0x3f, 0x40),
            (0x5c, 0x5c),
            (0xa1, 0xa1),
            (0xa7, 0xa7),
            (0xb6, 0xb7),
            (0xbf, 0xbf),
        ],
    ),
    ("ps", &[(0x28, 0x28), (0x5b, 0x5b), (0x7b, 0x7b)]),
    ("sc", &[(0x24, 0x24), (0xa2, 0xa5)]),
    ("sk", &[(0x5e, 0x5e), (0x60, 0x60), (0xa8, 0xa8), (0xaf, 0xaf), (0xb4, 0xb4), (0xb8, 0xb8)]),
    (
        "sm",
        &[
            (0x2b, 0x2b),
            (0x3c, 0x3e),
            (0x7c, 0x7c),
            (0x7e, 0x7e),
            (0xac, 0xac),
            (0xb1, 0xb1),
            (0xd7, 0xd7),
            (0xf7, 0xf7),
        ],
    ),
    ("so", &[(0xa6, 0xa6), (0xa9, 0xa9), (0xae, 0xae), (0xb0, 0xb0)]),
    ("zs", &[(0x20, 0x20), (0xa0, 0xa0)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_category() {
        for byte in 0..=u8::MAX {
            let holds = |ranges: &&[(u8, u8)]| {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte))
            };
            assert_eq!(
                CATEGORIES.iter().filter(|(_, ranges)| holds(ranges)).count(),
                1,
                "{byte:#x}"
            );
        }
    }
}
