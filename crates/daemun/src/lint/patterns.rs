//! The regular expressions of a configuration.

use daemun_conf::Word;

use super::{Outline, Scope};

/// A regular expression where it is written.
pub struct Written<'o> {
    pub scope: Scope<'o>,
    pub word: &'o Word,
    /// Without what marks the word as a pattern.
    pub text: &'o [u8],
    pub caseless: bool,
    /// The variable it is held against; `$uri` for locations and rewrites, empty where that is something else.
    pub subject: &'o [u8],
}

/// All of them.
pub fn all<'o>(outline: &'o Outline<'o>) -> Vec<Written<'o>> {
    outline.scopes().flat_map(of_scope).collect()
}

fn of_scope(scope: Scope<'_>) -> Vec<Written<'_>> {
    let mut found = Vec::new();
    match scope.name() {
        "location" => found.extend(header(scope)),
        "if" => found.extend(condition(scope)),
        "map" => found.extend(keys(scope)),
        _ => {}
    }
    for directive in scope.directives() {
        match &*directive.name.text {
            b"rewrite" => found.extend(directive.args.first().map(|word| Written {
                scope,
                word,
                text: &word.text,
                caseless: false,
                subject: b"$uri",
            })),
            b"server_name" => found.extend(marked(scope, &directive.args, b"$host")),
            b"valid_referers" => found.extend(marked(scope, &directive.args, b"")),
            _ => {}
        }
    }
    found
}

fn marked<'o>(
    scope: Scope<'o>,
    words: &'o [Word],
    subject: &'o [u8],
) -> impl Iterator<Item = Written<'o>> {
    words.iter().filter_map(move |word| {
        let text = word.text.strip_prefix(b"~")?;
        Some(Written { scope, word, text, caseless: true, subject })
    })
}

fn header(scope: Scope<'_>) -> Option<Written<'_>> {
    let super::header::Header::Pattern { text, caseless } = super::header::Header::of(scope)?
    else {
        return None;
    };
    let word = scope.arguments().last()?;
    Some(Written { scope, word, text, caseless, subject: b"$uri" })
}

/// `if ($variable ~ pattern)`, the parentheses being part of the words or words of their own.
fn condition(scope: Scope<'_>) -> Option<Written<'_>> {
    let words = scope.arguments();
    let operator =
        words.iter().position(|word| matches!(&*word.text, b"~" | b"~*" | b"!~" | b"!~*"))?;
    let subject = &*words.get(operator.checked_sub(1)?)?.text;
    let word = words.get(operator + 1)?;
    let is_last = operator + 2 == words.len();
    let text = word.text.strip_suffix(b")").filter(|_| is_last).unwrap_or(&word.text);
    Some(Written {
        scope,
        word,
        text,
        caseless: words[operator].text.ends_with(b"*"),
        subject: subject.strip_prefix(b"(").unwrap_or(subject),
    })
}

fn keys(scope: Scope<'_>) -> impl Iterator<Item = Written<'_>> {
    let subject = scope.arguments().first().map_or(&b""[..], |word| &word.text);
    scope.directives().iter().filter_map(move |line| {
        let word = &line.name;
        let (text, caseless) = match word.text.strip_prefix(b"~*") {
            Some(text) => (text, true),
            None => (word.text.strip_prefix(b"~")?, false),
        };
        Some(Written { scope, word, text, caseless, subject })
    })
}
