//! Replacing a part of a value: what `proxy_redirect`, `proxy_cookie_domain` and `proxy_cookie_path` have in common.

use std::sync::Arc;

use daemun_conf as conf;
use daemun_conf::Word;
use daemun_core::load::{Fault, Loader};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::Script;
use daemun_http::request::Request;

/// A rule: what is replaced, by what.
#[derive(Clone)]
pub struct Rewrite {
    pub pattern: Pattern,
    pub replacement: Script,
}

#[derive(Clone)]
pub enum Pattern {
    /// A value that begins so has the beginning replaced.
    Prefix(Script),
    /// The whole value, but for a dot in front, in any case.
    Domain(Script),
    /// The whole value.
    Expression(Arc<NamedPattern>),
}

/// Which part a rule looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Prefix,
    Domain,
}

impl Rewrite {
    /// `PATTERN REPLACEMENT`, where a tilde begins an expression.
    pub fn read(
        loader: &mut Loader<'_>,
        directive: &conf::Directive,
        kind: Kind,
    ) -> Result<Rewrite, Fault> {
        let [pattern, replacement] = &*directive.args else {
            return Err("invalid value".into());
        };
        let undotted = |word: &Word| match word.text.strip_prefix(b".") {
            Some(rest) => Word { text: rest.into(), ..word.clone() },
            None => word.clone(),
        };
        let rewrite = match (&*pattern.text, kind) {
            ([b'~', b'*', text @ ..], Kind::Prefix) => expression(loader, pattern, text, true)?,
            ([b'~', text @ ..], _) => expression(loader, pattern, text, kind == Kind::Domain)?,
            (_, Kind::Prefix) => Pattern::Prefix(loader.script(pattern)?),
            (_, Kind::Domain) => {
                let replacement = loader.script(&undotted(replacement))?;
                let pattern = Pattern::Domain(loader.script(&undotted(pattern))?);
                return Ok(Rewrite { pattern, replacement });
            }
        };
        Ok(Rewrite { pattern: rewrite, replacement: loader.script(replacement)? })
    }

    /// The value with what stands behind its first `prefix` bytes rewritten; `None` where the rule does not concern it.
    pub fn apply(&self, request: &mut Request, value: &[u8], prefix: usize) -> Option<Vec<u8>> {
        let rest = &value[prefix..];
        let (start, length) = match &self.pattern {
            Pattern::Prefix(pattern) => {
                let pattern = pattern.value(request);
                rest.starts_with(&pattern).then_some((0, pattern.len()))?
            }
            Pattern::Domain(pattern) => {
                let pattern = pattern.value(request);
                let dot = usize::from(rest.starts_with(b"."));
                rest[dot..].eq_ignore_ascii_case(&pattern).then_some((dot, pattern.len()))?
            }
            // What runs into the step limit has been logged, and does not match.
            Pattern::Expression(pattern) => {
                let is_match = request.matches(pattern, rest).unwrap_or(false);
                is_match.then_some((0, rest.len()))?
            }
        };
        let mut out = value[..prefix + start].to_vec();
        self.replacement.append(request, &mut out);
        out.extend_from_slice(&rest[start + length..]);
        Some(out)
    }
}

fn expression(
    loader: &mut Loader<'_>,
    word: &Word,
    text: &[u8],
    caseless: bool,
) -> Result<Pattern, Fault> {
    loader.pattern(word, text, caseless).map(|pattern| Pattern::Expression(Arc::from(pattern)))
}
