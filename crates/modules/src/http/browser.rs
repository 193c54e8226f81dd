//! `modern_browser`, `ancient_browser`: variables that tell browsers apart by `User-Agent`.
//!
//! ```nginx
//! modern_browser_value "modern.";
//! modern_browser msie  5.5;
//! modern_browser gecko 1.0.0;
//! modern_browser unlisted;
//! ancient_browser Links Lynx netscape4;
//! index index.${modern_browser}html;
//! ```

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Inherit;
use daemun_core::{directives, set, settings, values};
use daemun_http::head::Known;
use daemun_http::module::{HttpModule, Variable};
use daemun_http::request::Request;

/// A browser, and where its version stands.
struct Mask {
    name: &'static str,
    /// Bytes at the front that hold no name.
    skip: usize,
    /// The version follows it, a byte or so later.
    mark: &'static str,
    add: usize,
}

const fn mask(name: &'static str, front: &str, mark: &'static str, add: usize) -> Mask {
    Mask { name, skip: front.len(), mark, add }
}

/// Opera goes first: it can pose as others.
const MASKS: [Mask; 5] = [
    mask("opera", "", "Opera", "Opera ".len()),
    mask("msie", "Mozilla/4.0 (compatible; ", "MSIE ", "MSIE ".len()),
    mask("gecko", "Mozilla/5.0 (", "rv:", "rv:".len()),
    mask("safari", "Mozilla/5.0 (", "Safari/", "Safari/".len()),
    mask("konqueror", "Mozilla/5.0 (compatible; ", "Konqueror/", "Konqueror/".len()),
];

/// Two digits for each part: 5.5 is 5,050,000.
type Version = u64;

/// No browser has it.
const UNREACHABLE: Version = 4_001_000_000;

/// Browsers that are modern from a version on, sorted by their place among the masks.
#[derive(Clone, Default)]
struct Modern {
    versions: Vec<(usize, Version)>,
    takes_unlisted: bool,
}

impl Inherit for Modern {
    fn inherit(&mut self, outer: &Self) {
        if self.versions.is_empty() && !self.takes_unlisted {
            self.clone_from(outer);
        }
    }
}

#[derive(Clone, Default)]
struct Ancient {
    marks: Vec<Box<[u8]>>,
    has_netscape4: bool,
}

impl Inherit for Ancient {
    fn inherit(&mut self, outer: &Self) {
        if self.marks.is_empty() && !self.has_netscape4 {
            self.clone_from(outer);
        }
    }
}

settings! {
    pub struct Settings {
        modern: Modern,
        ancient: Ancient,
        modern_value: Vec<u8> = b"1".to_vec(),
        ancient_value: Vec<u8> = b"1".to_vec(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_browser_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "modern_browser" in HTTP_SERVER_LOCATION, Between(1, 2), "", Action::Set(modern_browser),
                "A browser that is modern from a version on, or all that are not listed.";
            "ancient_browser" in HTTP_SERVER_LOCATION, AtLeast(1), "", Action::Set(ancient_browser),
                "Texts in User-Agent that make a browser ancient.";
            "modern_browser_value" in HTTP_SERVER_LOCATION, Exactly(1), "1",
                set!(SETTINGS.modern_value, values::bytes),
                "What $modern_browser is for a modern browser.";
            "ancient_browser_value" in HTTP_SERVER_LOCATION, Exactly(1), "1",
                set!(SETTINGS.ancient_value, values::bytes),
                "What $ancient_browser is for an ancient browser.";
        },
    },
    variables: &[
        Variable::changeable("modern_browser", |request, _, out| {
            if is_modern(request) {
                out.extend_from_slice(&request.settings(&SETTINGS).modern_value);
            }
            true
        }),
        Variable::changeable("ancient_browser", |request, _, out| {
            if !is_modern(request) {
                out.extend_from_slice(&request.settings(&SETTINGS).ancient_value);
            }
            true
        }),
        Variable::changeable("msie", |request, _, out| {
            if request.header(Known::UserAgent).is_some_and(is_msie) {
                out.push(b'1');
            }
            true
        }),
    ],
    ..HttpModule::EMPTY
};

fn is_msie(agent: &[u8]) -> bool {
    finds(agent, b"MSIE ") && !finds(agent, b"Opera")
}

fn finds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

fn is_modern(request: &Request) -> bool {
    let Settings { modern, ancient, .. } = request.settings(&SETTINGS);
    let Some(agent) = request.header(Known::UserAgent) else {
        return modern.takes_unlisted;
    };
    for (index, version) in &modern.versions {
        if let Some(found) = MASKS[*index].version(agent) {
            return found >= *version;
        }
    }
    if !modern.versions.is_empty() && !modern.takes_unlisted {
        return false;
    }
    modern.takes_unlisted && !ancient.has(agent)
}

impl Ancient {
    fn has(&self, agent: &[u8]) -> bool {
        let is_netscape4 = || {
            agent.len() > "Mozilla/4.72 ".len()
                && matches!(agent.strip_prefix(b"Mozilla/"), Some([b'1'..=b'4', ..]))
        };
        self.has_netscape4 && is_netscape4() || self.marks.iter().any(|mark| finds(agent, mark))
    }
}

impl Mask {
    /// The version of a browser that is this one.
    fn version(&self, agent: &[u8]) -> Option<Version> {
        let rest = agent.get(self.skip..).filter(|rest| !rest.is_empty())?;
        let at = memchr::memmem::find(rest, self.mark.as_bytes())?;
        let text = rest.get(at + self.add..).filter(|text| !text.is_empty())?;
        let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.');
        Some(read_version(&text[..end.unwrap_or(text.len())]))
    }
}

/// Of digits and dots; parts beyond the fourth do not count.
fn read_version(text: &[u8]) -> Version {
    let parts = text.split(|byte| *byte == b'.').zip([1_000_000, 10_000, 100, 1]);
    let number = |part: &[u8]| {
        let digits = part.iter().map(|byte| Version::from(byte - b'0'));
        digits.fold(0, |value: Version, digit| value.wrapping_mul(10).wrapping_add(digit))
    };
    parts.fold(0, |version: Version, (part, scale)| {
        version.wrapping_add(number(part).wrapping_mul(scale))
    })
}

fn modern_browser(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = &directive.args[0];
    let fault = |sentence: String, word: &conf::Word| Fault::from(sentence).at(word.span);
    let modern = &mut loader.settings(&SETTINGS).modern;
    let Some(version) = directive.args.get(1) else {
        if name != "unlisted" {
            return Err(fault(format!("invalid parameter \"{name}\""), name));
        }
        modern.takes_unlisted = true;
        return Ok(());
    };
    let known = MASKS.iter().position(|mask| name.text.eq_ignore_ascii_case(mask.name.as_bytes()));
    let index = known.ok_or_else(|| fault(format!("unknown browser name \"{name}\""), name))?;
    if !version.text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return Err(fault(format!("invalid browser version \"{version}\""), version));
    }
    // An Opera that is not listed must not be taken for what it poses as.
    modern.versions.retain(|entry| *entry != (0, UNREACHABLE));
    modern.versions.push((index, read_version(&version.text)));
    if modern.versions.iter().all(|(index, _)| *index != 0) {
        modern.versions.push((0, UNREACHABLE));
    }
    modern.versions.sort_by_key(|(index, _)| *index);
    Ok(())
}

fn ancient_browser(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let ancient = &mut loader.settings(&SETTINGS).ancient;
    for word in &directive.args {
        match word == "netscape4" {
            true => ancient.has_netscape4 = true,
            false => ancient.marks.push(word.text.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_behind_names() {
        let version = |mask: usize, agent: &str| MASKS[mask].version(agent.as_bytes());
        assert_eq!(version(0, "Opera/9.01 (X11; FreeBSD 6 i386; U; en)"), Some(9_010_000));
        assert_eq!(
            version(1, "Mozilla/4.0 (compatible; MSIE 6.0; X11) Opera 7.50"),
            Some(6_000_000)
        );
        assert_eq!(version(2, "Mozilla/5.0 (X11; U; Linux; rv:1.5) Gecko"), Some(1_050_000));
        assert_eq!(version(3, "Mozilla/5.0 (X) Safari/417.9.3"), Some(417_090_300));
        assert_eq!(version(4, "Mozilla/5.0 (compatible; Konqueror/"), None);
        assert_eq!(version(1, "MSIE 6.0"), None);
    }
}
