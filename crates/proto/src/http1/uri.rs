//! The path of a request target as locations and files see it: decoded, without dot segments, slashes merged.

/// A normalised target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// Where the query begins in the target, behind its question mark.
    pub query: Option<usize>,
    /// Where the target's meaningful part ends: at a fragment, or at its end.
    pub end: usize,
}

/// The target leads above the root, or has a wrong or zero escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

/// Where in a segment the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Usual,
    Slash,
    Dot,
    DotDot,
}

/// Writes the normalised path of `target` to `path`, as nginx does, and says where the query stands.
///
/// Escapes are decoded before dot segments are resolved, so `/a/%2e%2e/` is `/`; an escaped `%`, `#` or `?`
/// is a plain byte of the path.
pub fn normalise(
    target: &[u8],
    merge_slashes: bool,
    path: &mut Vec<u8>,
) -> Result<Normalised, Invalid> {
    path.clear();
    if target.first() != Some(&b'/') {
        path.push(b'/');
    }
    let mut state = State::Usual;
    let mut at = 0;
    while at < target.len() {
        let mut byte = target[at];
        at += 1;
        match byte {
            b'?' => {
                leave_segment(state, path)?;
                let end = memchr::memchr(b'#', &target[at..]).map_or(target.len(), |len| at + len);
                return Ok(Normalised { query: Some(at), end });
            }
            b'#' => {
                leave_segment(state, path)?;
                return Ok(Normalised { query: None, end: at - 1 });
            }
            b'%' => {
                byte = escaped(&target[at..])?;
                at += 2;
                if matches!(byte, b'%' | b'#' | b'?') {
                    path.push(byte);
                    state = State::Usual;
                    continue;
                }
            }
            _ => {}
        }
        state = push(state, byte, merge_slashes, path)?;
    }
    leave_segment(state, path)?;
    Ok(Normalised { query: None, end: target.len() })
}

fn push(state: State, byte: u8, merge_slashes: bool, path: &mut Vec<u8>) -> Result<State, Invalid> {
    match (state, byte) {
        (State::Usual, b'/') => path.push(b'/'),
        (State::Slash, b'/') if merge_slashes => {}
        (State::Slash, b'/') => path.push(b'/'),
        (State::Dot | State::DotDot, b'/') => leave_segment(state, path)?,
        (State::Slash, b'.') => {
            path.push(b'.');
            return Ok(State::Dot);
        }
        (State::Dot, b'.') => {
            path.push(b'.');
            return Ok(State::DotDot);
        }
        _ => {
            path.push(byte);
            return Ok(State::Usual);
        }
    }
    Ok(State::Slash)
}

/// Resolves a dot segment that has ended: the path then ends with a slash.
fn leave_segment(state: State, path: &mut Vec<u8>) -> Result<(), Invalid> {
    match state {
        State::Usual | State::Slash => {}
        State::Dot => {
            path.pop();
        }
        State::DotDot => {
            // The segment is "/..": the slash before the one that opened it becomes the new end.
            let opening = path.len() - 3;
            let parent = memchr::memrchr(b'/', &path[..opening]).ok_or(Invalid)?;
            path.truncate(parent + 1);
        }
    }
    Ok(())
}

fn escaped(digits: &[u8]) -> Result<u8, Invalid> {
    let [high, low, ..] = digits else {
        return Err(Invalid);
    };
    match hex(*high)? << 4 | hex(*low)? {
        0 => Err(Invalid),
        byte => Ok(byte),
    }
}

fn hex(digit: u8) -> Result<u8, Invalid> {
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Option<String> {
        let mut path = Vec::new();
        normalise(target.as_bytes(), true, &mut path).ok()?;
        Some(String::from_utf8(path).unwrap())
    }

    #[test]
    fn segments() {
        for (target, expected) in [
            ("/a//b///c", "/a/b/c"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b/..", "/"),
            ("/a/b/../../c", "/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2fb", "/a/b"),
            ("/a%2f%2fb", "/a/b"),
            ("/.../x", "/.../x"),
            ("/.a/..b", "/.a/..b"),
            ("/a%23%3f%25", "/a#?%"),
            ("/a?b/../c", "/a"),
            ("/a/..?b", "/"),
            ("/a/.#b", "/a/"),
            ("?b", "/"),
            ("", "/"),
        ] {
            assert_eq!(path(target).as_deref(), Some(expected), "{target}");
        }
    }

    #[test]
    fn refused() {
        for target in ["/..", "/../a", "/a/../..", "/%", "/%4", "/%zz", "/%00"] {
            assert_eq!(path(target), None, "{target}");
        }
    }

    #[test]
    fn the_query_is_where_it_was() {
        let mut path = Vec::new();
        let found = normalise(b"/a//b?c=1#d", true, &mut path).unwrap();
        assert_eq!(found, Normalised { query: Some(6), end: 9 });
        normalise(b"/a//b", false, &mut path).unwrap();
        assert_eq!(path, b"/a//b");
    }
}
