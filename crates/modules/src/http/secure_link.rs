//! `secure_link`: links that nobody can make up, and that may expire.
//!
//! ```nginx
//! location /s/ {
//!     secure_link     $arg_md5,$arg_expires;
//!     secure_link_md5 "$secure_link_expires$uri$remote_addr secret";
//!     if ($secure_link = "")  { return 403; }
//!     if ($secure_link = "0") { return 410; }
//! }
//! location /p/ {
//!     secure_link_secret word;
//!     if ($secure_link = "") { return 403; }
//!     rewrite ^ /secure/$secure_link;
//! }
//! ```

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey, SettingsSet};
use daemun_core::script::Script;
use daemun_core::setting::Inherit;
use daemun_core::{directives, settings};
use daemun_http::credentials::decode_base64url;
use daemun_http::date;
use daemun_http::module::{HttpModule, Variable};
use daemun_http::request::Request;
use md5::{Digest, Md5};

/// What a link is checked by: two scripts, or a word.
#[derive(Clone, Default)]
struct Link {
    /// The hash, and behind a comma when it expires.
    hash: Option<Script>,
    /// What was hashed.
    subject: Option<Script>,
    secret: Option<Box<[u8]>>,
}

impl Inherit for Link {
    fn inherit(&mut self, outer: &Self) {
        if self.secret.is_some() {
            return;
        }
        self.hash = self.hash.take().or_else(|| outer.hash.clone());
        self.subject = self.subject.take().or_else(|| outer.subject.clone());
        if self.hash.is_none() && self.subject.is_none() {
            self.secret = outer.secret.clone();
        }
    }
}

settings! {
    pub struct Settings {
        link: Link,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_secure_link_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "secure_link" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(secure_link),
                "Where a link's hash, and behind a comma its time of expiry, are found.";
            "secure_link_md5" in HTTP_SERVER_LOCATION, Exactly(1), "", Action::Set(secure_link_md5),
                "What the hash of a link is made from.";
            "secure_link_secret" in LOCATION, Exactly(1), "", Action::Set(secure_link_secret),
                "The word that the hash in a link's path is made with.";
        },
    },
    variables: &[
        Variable::new("secure_link", |request, _, out| {
            let link = &request.settings(&SETTINGS).link;
            match &link.secret {
                Some(secret) => append_hashed_part(request, secret, out),
                None => check(request, link).is_some_and(|verdict| {
                    out.push(verdict);
                    true
                }),
            }
        }),
        Variable::new("secure_link_expires", |request, _, out| {
            let Expiry(Some(text)) = request.context(&SETTINGS) else {
                return false;
            };
            out.extend_from_slice(text);
            true
        }),
    ],
    check: check_settings,
    ..HttpModule::EMPTY
};

/// The time of expiry in the link that was looked at.
#[derive(Default)]
struct Expiry(Option<Vec<u8>>);

/// `1` for a good link, `0` for one that has expired.
fn check(request: &mut Request, link: &'static Link) -> Option<u8> {
    let (hash, subject) = (link.hash.as_ref()?, link.subject.as_ref()?);
    let value = hash.value(request);
    let mut parts = value.splitn(2, |byte| *byte == b',');
    let hash = parts.next()?;
    let mut expires = None;
    if let Some(text) = parts.next() {
        expires = Some(units::integer(text).filter(|seconds| *seconds > 0)?);
        request.context::<Expiry>(&SETTINGS).0 = Some(text.to_vec());
    }
    let hash = decode_base64url(hash)?;
    let digest = Md5::digest(subject.value(request));
    if !is_same(&hash, &digest) {
        return None;
    }
    let now = date::seconds(daemun_event::wall_clock());
    match expires {
        Some(seconds) if (seconds as u64) < now => Some(b'0'),
        _ => Some(b'1'),
    }
}

/// `/prefix/HASH/link`: the link, where the hash is that of link and secret.
fn append_hashed_part(request: &Request, secret: &[u8], out: &mut Vec<u8>) -> bool {
    let mut parts = request.head.target()[1..].splitn(3, |byte| *byte == b'/');
    let (Some(_), Some(hash), Some(link)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let digest = Md5::new().chain_update(link).chain_update(secret).finalize();
    let is_good = !link.is_empty() && decode_hex(hash).is_some_and(|hash| is_same(&hash, &digest));
    if is_good {
        out.extend_from_slice(link);
    }
    is_good
}

fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

/// Takes as long for a near guess as for a far one.
fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn check_settings(settings: &SettingsSet) -> Result<(), String> {
    let link = &settings.of(&SETTINGS).link;
    match link.secret.is_some() && (link.hash.is_some() || link.subject.is_some()) {
        true => Err("\"secure_link_secret\" cannot be mixed with \"secure_link\" and \
                     \"secure_link_md5\""
            .to_owned()),
        false => Ok(()),
    }
}

fn secure_link(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    set_script(loader, directive, |link| &mut link.hash)
}

fn secure_link_md5(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    set_script(loader, directive, |link| &mut link.subject)
}

fn set_script(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    field: fn(&mut Link) -> &mut Option<Script>,
) -> Result<(), Fault> {
    let script = loader.script(&directive.args[0])?;
    let field = field(&mut loader.settings(&SETTINGS).link);
    if field.is_some() {
        return Err("is duplicate".into());
    }
    *field = Some(script);
    Ok(())
}

fn secure_link_secret(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let secret = &mut loader.settings(&SETTINGS).link.secret;
    if secret.is_some() {
        return Err("is duplicate".into());
    }
    *secret = Some(directive.args[0].text.clone());
    Ok(())
}
