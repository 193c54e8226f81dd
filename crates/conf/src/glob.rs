//! Names of files by pattern, as glob(3) finds them without flags: `*`, `?`, `[...]` and `\` within the components of a
//! path, hidden files only where the pattern names the dot, results in byte order. Paths are bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The paths that match, sorted. What cannot be read matches nothing.
pub(crate) fn glob(pattern: &Path) -> Vec<PathBuf> {
    let pattern = pattern.as_os_str().as_bytes();
    let mut components = pattern.split(|&byte| byte == b'/').peekable();
    let mut found = vec![Vec::new()];
    if pattern.starts_with(b"/") {
        components.next();
        found = vec![b"/".to_vec()];
    }
    while let Some(component) = components.next() {
        let is_last = components.peek().is_none();
        found = found.into_iter().flat_map(|base| extend(base, component, is_last)).collect();
    }
    found.sort();
    found.iter().map(|path| PathBuf::from(OsStr::from_bytes(path))).collect()
}

/// The paths that one more component leads to. `base` is empty or ends in a slash.
fn extend(base: Vec<u8>, component: &[u8], is_last: bool) -> Vec<Vec<u8>> {
    let end: &[u8] = if is_last { b"" } else { b"/" };
    if !component.iter().any(|byte| b"*?[".contains(byte)) {
        let path = [&base[..], &unescape(component), end].concat();
        let exists = !is_last || Path::new(OsStr::from_bytes(&path)).symlink_metadata().is_ok();
        return exists.then_some(path).into_iter().collect();
    }
    let folder = if base.is_empty() { b"." } else { &base[..] };
    let Ok(entries) = std::fs::read_dir(OsStr::from_bytes(folder)) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| matches_name(component, name.as_bytes()))
        .map(|name| [&base[..], name.as_bytes(), end].concat())
        .collect()
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let names_dot = pattern.starts_with(b".") || pattern.starts_with(b"\\.");
    let is_hidden = name.starts_with(b".");
    (names_dot || !is_hidden) && matches(pattern, name)
}

/// fnmatch(3) within one component. After a mismatch only the last `*` is tried again, one byte further: an earlier one
/// cannot make a match that the last one cannot, so the time is bounded by the product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, read));
            continue;
        }
        match (name.get(read), match_one(&pattern[at..], name.get(read))) {
            (None, _) if at == pattern.len() => return true,
            (None, _) => return false,
            (Some(_), Some(taken)) => {
                at += taken;
                read += 1;
            }
            (Some(_), None) => {
                let Some((star, tried)) = retry else {
                    return false;
                };
                (at, read) = (star, tried + 1);
                retry = Some((at, read));
            }
        }
    }
}

/// How much of the pattern matches this byte of a name.
fn match_one(pattern: &[u8], byte: Option<&u8>) -> Option<usize> {
    let byte = *byte?;
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', set @ ..] => match bracket(set, byte) {
            Some((true, length)) => Some(1 + length),
            Some((false, _)) => None,
            // Without its `]`, the bracket is a plain byte.
            None => (byte == b'[').then_some(1),
        },
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// Whether a bracket expression, given without its `[`, holds the byte, and its length with the `]`.
fn bracket(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut holds = false;
    loop {
        match set.get(at..)? {
            // A `]` that comes first is a member.
            [b']', ..] if at > start => return Some((holds != negated, at + 1)),
            [b'[', b':', rest @ ..]
                if let Some(length) = rest.windows(2).position(|end| end == b":]") =>
            {
                holds |= in_class(&rest[..length], byte);
                at += length + 4;
            }
            rest => {
                let (low, taken) = member(rest)?;
                at += taken;
                let mut high = low;
                if let [b'-', after @ ..] = &set[at..]
                    && !matches!(after, [] | [b']', ..])
                {
                    let (end, taken) = member(after)?;
                    high = end;
                    at += 1 + taken;
                }
                holds |= (low..=high).contains(&byte);
            }
        }
    }
}

/// One byte of a bracket expression, and its length in the pattern.
fn member(set: &[u8]) -> Option<(u8, usize)> {
    match set {
        [b'\\', escaped, ..] => Some((*escaped, 2)),
        [byte, ..] => Some((*byte, 1)),
        [] => None,
    }
}

fn in_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"alpha" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"lower" => byte.is_ascii_lowercase(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"upper" => byte.is_ascii_uppercase(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

fn unescape(component: &[u8]) -> Vec<u8> {
    let mut bytes = component.iter().copied();
    let mut plain = Vec::with_capacity(component.len());
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        plain.push(escaped.unwrap_or(byte));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_fnmatch_says() {
        let cases: [(&str, &str, bool); 20] = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("?.conf", "a.conf", true),
            ("?.conf", ".conf", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("[[:digit:]]*", "1a", true),
            ("[[:digit:]]*", "a1", false),
            ("[", "[", true),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "a", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches_name(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
