//! Where requests are passed on to other servers.

use daemun_conf::{Directive, Word};

use super::{Outline, Scope};

/// A `proxy_pass` or one of its like.
#[derive(Clone, Copy)]
pub struct Pass<'o> {
    pub scope: Scope<'o>,
    pub directive: &'o Directive,
    /// Where to, as it is written.
    pub word: &'o Word,
}

/// All of them.
pub fn all<'o>(outline: &'o Outline<'o>) -> impl Iterator<Item = Pass<'o>> {
    outline.scopes().flat_map(|scope| {
        scope.directives().iter().filter_map(move |directive| {
            let is_pass = directive.name.as_str().is_ok_and(|name| PASSES.contains(&name));
            let word = directive.args.first().filter(|_| is_pass)?;
            Some(Pass { scope, directive, word })
        })
    })
}

const PASSES: &[&str] =
    &["proxy_pass", "fastcgi_pass", "scgi_pass", "uwsgi_pass", "memcached_pass", "grpc_pass"];

impl<'o> Pass<'o> {
    /// Without the scheme.
    fn rest(self) -> &'o str {
        let text = self.word.as_str().unwrap_or_default();
        text.split_once("://").map_or(text, |(_, rest)| rest)
    }

    fn authority_length(self) -> usize {
        let rest = self.rest();
        let end = match rest.strip_prefix("unix:") {
            // The path of the socket ends at the colon behind it.
            Some(path) => path.find(':').map(|colon| rest.len() - path.len() + colon),
            None => rest.find('/'),
        };
        end.unwrap_or(rest.len())
    }

    /// Host and port, a socket's path, or the variables that stand for them.
    pub fn authority(self) -> &'o str {
        &self.rest()[..self.authority_length()]
    }

    /// What takes the place of the location's name.
    pub fn uri(self) -> Option<&'o str> {
        let uri = self.rest()[self.authority_length()..].trim_start_matches(':');
        Some(uri).filter(|uri| !uri.is_empty())
    }

    /// The host alone.
    pub fn host(self) -> &'o str {
        host_of(self.authority())
    }

    /// Whether an `upstream` block has this name.
    pub fn is_group(self, outline: &Outline<'_>) -> bool {
        is_group(outline, self.authority())
    }
}

/// Whether an `upstream` block has this name.
pub fn is_group(outline: &Outline<'_>, name: &str) -> bool {
    outline
        .blocks("upstream")
        .any(|block| block.arguments().first().is_some_and(|word| *word == *name))
}

/// An address without its port.
pub fn host_of(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && !address.starts_with("unix:") => host,
        _ => address,
    }
}

/// Whether an address is one, and no name that has to be looked up.
pub fn is_address(host: &str) -> bool {
    host.starts_with("unix:") || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

/// The names after dollar signs.
pub fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())]
    })
}
