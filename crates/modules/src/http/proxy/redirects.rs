//! `proxy_redirect`: where responses lead is told as the client sees it.

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_http::request::Request;

use super::pass::Fixed;
use super::rewrites::{Kind, Pattern, Rewrite};
use super::{SETTINGS, Settings};

/// What a block says about redirects.
#[derive(Clone, Default)]
pub enum Redirects {
    /// The URL of `proxy_pass` becomes the location's name.
    #[default]
    Unset,
    Off,
    Rules(Vec<Rewrite>),
}

impl Inherit for Redirects {
    fn inherit(&mut self, outer: &Self) {
        if matches!(self, Redirects::Unset) {
            self.clone_from(outer);
        }
    }
}

/// The value with its URL, which begins behind `prefix` bytes, rewritten by the first rule that concerns it.
pub fn rewrite(
    request: &mut Request,
    settings: &Settings,
    value: &Bytes,
    prefix: usize,
) -> Option<Bytes> {
    match &settings.redirects {
        Redirects::Off => None,
        Redirects::Rules(rules) => {
            rules.iter().find_map(|rule| rule.apply(request, value, prefix)).map(Bytes::from)
        }
        Redirects::Unset => {
            let pass = settings.pass.fixed()?;
            rewrite_default(pass, value, prefix)
        }
    }
}

fn rewrite_default(pass: &Fixed, value: &[u8], prefix: usize) -> Option<Bytes> {
    let (url, name) = default_rule(pass);
    let rest = value[prefix..].strip_prefix(&*url)?;
    Some([&value[..prefix], &name, rest].concat().into())
}

/// What `default` replaces, and by what.
fn default_rule(pass: &Fixed) -> (Vec<u8>, Vec<u8>) {
    match pass.has_uri() {
        false => ([&pass.url[..], b"/"].concat(), b"/".to_vec()),
        true => (pass.url.clone(), pass.location.clone()),
    }
}

pub fn proxy_redirect(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let settings = loader.settings(&SETTINGS);
    if matches!(settings.redirects, Redirects::Off) {
        return Err("is duplicate".into());
    }
    let rule = match &*directive.args {
        [word] if word == "off" => {
            if matches!(settings.redirects, Redirects::Rules(_)) {
                return Err("is duplicate".into());
            }
            settings.redirects = Redirects::Off;
            return Ok(());
        }
        [word] if word == "default" => {
            let Some(pass) = settings.pass.fixed() else {
                let sentence = match settings.pass.is_computed() {
                    true => {
                        "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables"
                    }
                    false => {
                        "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive"
                    }
                };
                return Err(Fault::from(sentence.to_owned()).at(word.span));
            };
            let (url, name) = default_rule(pass);
            Rewrite {
                pattern: Pattern::Prefix(Script::literal(&url)),
                replacement: Script::literal(&name),
            }
        }
        [word] => {
            return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
        }
        _ => Rewrite::read(loader, directive, Kind::Prefix)?,
    };
    match &mut loader.settings(&SETTINGS).redirects {
        Redirects::Rules(rules) => rules.push(rule),
        unset => *unset = Redirects::Rules(vec![rule]),
    }
    Ok(())
}
