//! `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags`: cookies that servers set, as clients get them.

use std::sync::Arc;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::Script;
use daemun_core::setting::Setting;
use daemun_http::request::Request;

use super::rewrites::{Kind, Rewrite};
use super::{SETTINGS, Settings};

/// Attributes for the cookies of a name.
#[derive(Clone)]
pub struct FlagRule {
    cookie: CookieName,
    flags: Vec<Script>,
}

#[derive(Clone)]
enum CookieName {
    /// In any case.
    Equal(Script),
    Expression(Arc<NamedPattern>),
}

/// A part of a `Set-Cookie` value between semicolons.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    name: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// The value as the client gets it; `None` where no rule concerns it.
pub fn rewrite(request: &mut Request, settings: &Settings, value: &Bytes) -> Option<Bytes> {
    let has_rules = !settings.cookie_domains.is_empty()
        || !settings.cookie_paths.is_empty()
        || !settings.cookie_flags.is_empty();
    if !has_rules {
        return None;
    }
    let mut attributes = parse(value);
    attributes.first()?.value.as_ref()?;
    let mut has_changed = false;
    for attribute in &mut attributes[1..] {
        let rules = match attribute.name.to_ascii_lowercase().as_slice() {
            b"domain" => &settings.cookie_domains,
            b"path" => &settings.cookie_paths,
            _ => continue,
        };
        if let Some(value) = &attribute.value
            && let Some(value) = rules.iter().find_map(|rule| rule.apply(request, value, 0))
        {
            attribute.value = Some(value);
            has_changed = true;
        }
    }
    let rule = settings.cookie_flags.iter().find(|rule| rule.concerns(request, &attributes[0]));
    if let Some(rule) = rule {
        let flags: Vec<_> = rule.flags.iter().map(|flag| flag.value(request)).collect();
        has_changed |= set_flags(&mut attributes, &flags);
    }
    has_changed.then(|| spell(&attributes).into())
}

impl FlagRule {
    fn concerns(&self, request: &mut Request, cookie: &Attribute) -> bool {
        match &self.cookie {
            CookieName::Equal(name) => name.value(request).eq_ignore_ascii_case(&cookie.name),
            // What runs into the step limit has been logged, and does not match.
            CookieName::Expression(pattern) => {
                request.matches(pattern, &cookie.name).unwrap_or(false)
            }
        }
    }
}

fn parse(value: &[u8]) -> Vec<Attribute> {
    let parts = value.split(|byte| *byte == b';');
    let attribute = |part: &[u8]| match memchr::memchr(b'=', part) {
        Some(sign) => Attribute {
            name: trim(&part[..sign]).to_vec(),
            value: Some(trim(&part[sign + 1..]).to_vec()),
        },
        None => Attribute { name: trim(part).to_vec(), value: None },
    };
    parts.map(attribute).collect()
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|byte| **byte == b' ').count();
    let text = &text[start..];
    &text[..text.len() - text.iter().rev().take_while(|byte| **byte == b' ').count()]
}

fn spell(attributes: &[Attribute]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, attribute) in attributes.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(&attribute.name);
        if let Some(value) = &attribute.value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    out
}

/// What becomes of an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Set(Option<&'static str>),
    Remove,
}

/// Sets and removes attributes; `false` where there are no flags that say so.
fn set_flags(attributes: &mut Vec<Attribute>, flags: &[Vec<u8>]) -> bool {
    let mut is_wanted = false;
    for name in ["Secure", "HttpOnly", "SameSite"] {
        let wish = flags.iter().filter_map(|flag| wish_for(name, flag)).next();
        let Some(wish) = wish else { continue };
        is_wanted = true;
        set_flag(attributes, name, wish);
    }
    is_wanted
}

fn wish_for(name: &str, flag: &[u8]) -> Option<Wish> {
    let flag = flag.to_ascii_lowercase();
    Some(match (name, flag.as_slice()) {
        ("Secure", b"secure") | ("HttpOnly", b"httponly") => Wish::Set(None),
        ("Secure", b"nosecure") | ("HttpOnly", b"nohttponly") | ("SameSite", b"nosamesite") => {
            Wish::Remove
        }
        ("SameSite", b"samesite=strict") => Wish::Set(Some("Strict")),
        ("SameSite", b"samesite=lax") => Wish::Set(Some("Lax")),
        ("SameSite", b"samesite=none") => Wish::Set(Some("None")),
        _ => return None,
    })
}

fn set_flag(attributes: &mut Vec<Attribute>, name: &str, wish: Wish) {
    let is_named = |attribute: &Attribute| attribute.name.eq_ignore_ascii_case(name.as_bytes());
    let Wish::Set(value) = wish else {
        let mut position = 0;
        attributes.retain(|attribute| {
            position += 1;
            position == 1 || !is_named(attribute)
        });
        return;
    };
    let wanted = Attribute { name: name.into(), value: value.map(Into::into) };
    match attributes.iter_mut().skip(1).find(|attribute| is_named(attribute)) {
        None => attributes.push(wanted),
        // Another spelling of the same is left as it is.
        Some(there) if value.is_none_or(|value| has_value(there, value)) => {}
        Some(there) => *there = wanted,
    }
}

fn has_value(attribute: &Attribute, value: &str) -> bool {
    attribute.value.as_ref().is_some_and(|there| there.eq_ignore_ascii_case(value.as_bytes()))
}

pub fn proxy_cookie_domain(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    if is_off(directive, &mut loader.settings(&SETTINGS).cookie_domains)? {
        return Ok(());
    }
    let rule = Rewrite::read(loader, directive, Kind::Domain)?;
    loader.settings(&SETTINGS).cookie_domains.modify().push(rule);
    Ok(())
}

pub fn proxy_cookie_path(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    if is_off(directive, &mut loader.settings(&SETTINGS).cookie_paths)? {
        return Ok(());
    }
    let rule = Rewrite::read(loader, directive, Kind::Prefix)?;
    loader.settings(&SETTINGS).cookie_paths.modify().push(rule);
    Ok(())
}

pub fn proxy_cookie_flags(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<(), Fault> {
    if is_off(directive, &mut loader.settings(&SETTINGS).cookie_flags)? {
        return Ok(());
    }
    let (word, flags) = directive.args.split_first().expect("an argument at least");
    let cookie = match &*word.text {
        [b'~', text @ ..] => CookieName::Expression(Arc::from(loader.pattern(word, text, true)?)),
        _ => CookieName::Equal(loader.script(word)?),
    };
    let flags = flags.iter().map(|flag| loader.script(flag)).collect::<Result<_, _>>()?;
    let rule = FlagRule { cookie, flags };
    loader.settings(&SETTINGS).cookie_flags.modify().push(rule);
    Ok(())
}

/// Handles `off`, which stands alone in its block.
fn is_off<T: Clone>(
    directive: &conf::Directive,
    rules: &mut Setting<Vec<T>>,
) -> Result<bool, Fault> {
    if rules.is_set() && rules.is_empty() {
        return Err("is duplicate".into());
    }
    match &*directive.args {
        [word] if word == "off" => {
            rules.set(Vec::new())?;
            Ok(true)
        }
        [word] => Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span)),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flagged(cookie: &str, flags: &[&str]) -> String {
        let mut attributes = parse(cookie.as_bytes());
        let flags: Vec<_> = flags.iter().map(|flag| flag.as_bytes().to_vec()).collect();
        set_flags(&mut attributes, &flags);
        String::from_utf8(spell(&attributes)).unwrap()
    }

    #[test]
    fn attributes_are_set_and_removed() {
        assert_eq!(flagged("a=b; path=/", &["secure"]), "a=b; path=/; Secure");
        assert_eq!(flagged("a=b;secure", &["secure"]), "a=b; secure");
        assert_eq!(flagged("a=b; Secure; HttpOnly", &["nosecure"]), "a=b; HttpOnly");
        assert_eq!(flagged("a=b; samesite=lax", &["samesite=strict"]), "a=b; SameSite=Strict");
        assert_eq!(flagged("a=b; samesite=STRICT", &["samesite=strict"]), "a=b; samesite=STRICT");
        assert_eq!(flagged("a=b", &["httponly", "samesite=none"]), "a=b; HttpOnly; SameSite=None");
        assert_eq!(flagged("secure=b; secure", &["nosecure"]), "secure=b");
    }
}
