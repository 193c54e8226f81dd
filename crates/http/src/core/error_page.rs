//! `error_page`: what is sent in place of an error.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;
use crate::status::Status;

/// Where an error leads.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    pub status: Status,
    /// The status to send instead.
    pub overwrite: Overwrite,
    /// A path, a named location, or an absolute URL.
    pub target: Script,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// The error's own.
    Keep,
    /// `=`: what the page itself has.
    Page,
    /// `=CODE`.
    Fixed(Status),
}

settings! {
    pub struct Settings {
        pages: Vec<ErrorPage> = Vec::new(),
        recursive: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "error_page" in HTTP_SERVER_LOCATION | LOCATION_IF, AtLeast(2), "", Action::Set(error_page),
                "The page, location or URL to send in place of errors.";
            "recursive_error_pages" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.recursive, values::flag),
                "Whether an error in an error page has an error page of its own.";
        },
    },
    ..HttpModule::EMPTY
};

fn error_page(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (target, rest) = directive.args.split_last().expect("two arguments at least");
    let mut codes = rest;
    let mut overwrite = Overwrite::Keep;
    if let Some((last, before)) = rest.split_last()
        && let Some(code) = last.text.strip_prefix(b"=")
    {
        overwrite = read_overwrite(last, code)?;
        codes = before;
        if codes.is_empty() {
            return Err(Fault::from(format!("invalid value \"{last}\"")).at(last.span));
        }
    }
    let target = loader.script(target)?;
    let mut pages = Vec::with_capacity(codes.len());
    for word in codes {
        let status = read_status(word)?;
        pages.push(ErrorPage { status, overwrite, target: target.clone() });
    }
    loader.settings(&SETTINGS).pages.modify().append(&mut pages);
    Ok(())
}

fn read_overwrite(word: &conf::Word, code: &[u8]) -> Result<Overwrite, Fault> {
    if code.is_empty() {
        return Ok(Overwrite::Page);
    }
    match std::str::from_utf8(code).ok().and_then(|code| code.parse().ok()) {
        Some(code) => Ok(Overwrite::Fixed(Status(code))),
        None => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
    }
}

fn read_status(word: &conf::Word) -> Result<Status, Fault> {
    let code = word.as_str().ok().and_then(|text| text.parse::<u16>().ok());
    match code {
        None => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        Some(499) => Err(Fault::from(format!("invalid value \"{word}\"")).at(word.span)),
        Some(code @ 300..=599) => Ok(Status(code)),
        Some(_) => {
            let message = format!("value \"{word}\" must be between 300 and 599");
            Err(Fault::from(message).at(word.span))
        }
    }
}
