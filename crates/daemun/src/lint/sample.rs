//! Requests that reach a place of the configuration.

use daemun_pattern::Pattern;

use super::header::Header;
use super::{Example, Scope};

impl Example {
    /// A request for `uri` to the server that `scope` is in.
    pub(super) fn of(scope: Scope<'_>, uri: impl Into<String>) -> Example {
        let server = scope.server();
        let name = server.and_then(plain_name).unwrap_or_else(|| "localhost".to_owned());
        let host = match server.and_then(port) {
            Some(port) if port != "80" => format!("{name}:{port}"),
            _ => name,
        };
        let (uri, fields, effect) = (uri.into(), Vec::new(), String::new());
        Example { scheme: "http", host, uri, fields, effect }
    }

    /// A request that reaches `scope`, as far as its header tells.
    pub(super) fn into(scope: Scope<'_>) -> Example {
        Example::of(scope, uri_of(scope))
    }

    /// The same meeting the condition of an `if`, where that is about an argument or a header field.
    pub(super) fn meeting(mut self, block: Scope<'_>) -> Example {
        let words = block.arguments().iter().map(|word| word.to_str_lossy());
        let words: Vec<_> = words.map(|word| word.trim_matches(['(', ')']).to_owned()).collect();
        let words: Vec<&str> =
            words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        let (variable, value) = match *words {
            [variable] => (variable, "1".to_owned()),
            [variable, "=", value] => (variable, value.to_owned()),
            [variable, "~" | "~*", pattern] => (variable, guess(pattern)),
            _ => return self,
        };
        if let Some(name) = variable.strip_prefix("$arg_") {
            self.uri = format!("{}?{name}={value}", self.uri);
        } else if let Some(name) = variable.strip_prefix("$http_") {
            self.fields.push(format!("{}: {value}", name.replace('_', "-")));
        }
        self
    }
}

/// A URI for the location that `scope` is, or is in.
pub(super) fn uri_of(scope: Scope<'_>) -> String {
    match scope.outwards().find_map(Header::of) {
        Some(Header::Exact(name) | Header::Prefix { name, .. }) => {
            String::from_utf8_lossy(name).into_owned()
        }
        Some(Header::Pattern { text, caseless }) => matching(text, caseless),
        Some(Header::Named(_)) | None => "/".to_owned(),
    }
}

/// The first name of a server that is a host's name.
fn plain_name(server: Scope<'_>) -> Option<String> {
    let mut names = server.all("server_name").flat_map(|directive| &directive.args);
    names.find_map(|word| {
        let name = word.as_str().ok()?;
        let is_plain = name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !name.contains(['*', '/', '$']);
        is_plain.then(|| name.to_owned())
    })
}

/// The port of a server's first address that has one.
fn port(server: Scope<'_>) -> Option<String> {
    server.all("listen").find_map(|listen| {
        let address = listen.args.first()?.as_str().ok()?;
        if address.starts_with("unix:") {
            return None;
        }
        let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
        port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.to_owned())
    })
}

/// A URI that a pattern matches, where an easy one does.
fn matching(pattern: &[u8], caseless: bool) -> String {
    let guess = guess(&String::from_utf8_lossy(pattern));
    let compiled = Pattern::compile(pattern, caseless);
    let fits = |uri: &String| {
        let matches = |pattern: &Pattern| pattern.is_match(uri.as_bytes()) == Ok(true);
        uri.starts_with('/') && compiled.as_ref().is_ok_and(matches)
    };
    let candidates = [guess.clone(), format!("/a{guess}"), format!("/{guess}"), "/".to_owned()];
    candidates.into_iter().find(fits).unwrap_or_else(|| "/".to_owned())
}

/// The pattern's own letters: the first of several alternatives, one `a` for whatever is left open.
pub(super) fn guess(pattern: &str) -> String {
    guess_with(pattern, "a")
}

/// The same with `wide` for a class that leaves out a few bytes.
pub(super) fn guess_with(pattern: &str, wide: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => match rest.next() {
                Some('d') => out.push('1'),
                Some('w') => out.push('a'),
                Some(other) if !other.is_alphanumeric() => out.push(other),
                _ => {}
            },
            '[' => {
                out.push_str(if rest.peek() == Some(&'^') { wide } else { "a" });
                while rest.next_if(|next| *next != ']').is_some() {}
                rest.next();
            }
            '(' => {
                if rest.next_if_eq(&'?').is_some() {
                    while rest.next_if(|next| !matches!(next, ':' | '>')).is_some() {}
                    rest.next();
                }
            }
            '|' => while rest.next_if(|next| *next != ')').is_some() {},
            '.' => out.push('a'),
            '^' | '$' | ')' | '*' | '+' | '?' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_found_for_common_patterns() {
        for (pattern, uri) in [
            (r"\.php$", "/a.php"),
            (r"^/user/(?<name>[^/]+)/(\d+)$", "/user/a/1"),
            (r"^/(one|two)/", "/one/"),
            (r"\.(png|jpe?g)$", "/a.png"),
        ] {
            assert_eq!(matching(pattern.as_bytes(), false), uri, "{pattern}");
        }
    }
}
