//! What a client may send, how much of it and how slowly.

use std::path::PathBuf;
use std::time::Duration;

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Action, Module, SettingsKey};
use daemun_core::script::Script;
use daemun_core::{directives, set, settings, values};

use crate::module::HttpModule;

/// When a request body is written to a file whatever its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFileOnly {
    Off,
    /// The file stays after the request.
    On,
    Clean,
}

/// A folder for temporary files, with the digits of each level of folders below it.
#[derive(Clone, Debug)]
pub struct TempPath {
    pub folder: PathBuf,
    pub levels: Vec<usize>,
}

settings! {
    pub struct Settings {
        header_timeout: Duration = Duration::from_secs(60),
        body_timeout: Duration = Duration::from_secs(60),
        header_buffer_size: usize = 1024,
        /// Number and size.
        large_header_buffers: (usize, usize) = (4, 8192),
        max_headers: usize = 1000,
        ignore_invalid_headers: bool = true,
        underscores_in_headers: bool = false,
        /// 0: no limit.
        max_body_size: u64 = 1 << 20,
        body_buffer_size: usize = 8 << 10,
        /// `None`: the built-in folder.
        body_temp_path: Option<TempPath> = None,
        body_in_file_only: InFileOnly = InFileOnly::Off,
        /// Where one of these has a value other than "0", the body is read before a location is chosen.
        body_early_read: Vec<Script> = Vec::new(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

const POOLS: Action = Action::Checked(
    |directive| values::size(directive).map(drop),
    "memory is not taken from such pools",
);

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "client_header_timeout" in HTTP_SERVER, Exactly(1), "60s",
                set!(SETTINGS.header_timeout, values::milliseconds),
                "How long a client may take to send a request's head.";
            "client_body_timeout" in HTTP_SERVER_LOCATION, Exactly(1), "60s",
                set!(SETTINGS.body_timeout, values::milliseconds),
                "How long a client may pause while it sends a request's body.";
            "client_header_buffer_size" in HTTP_SERVER, Exactly(1), "1k",
                set!(SETTINGS.header_buffer_size, values::size),
                "How much of a request's head is read before large buffers are used.";
            "large_client_header_buffers" in HTTP_SERVER, Exactly(2), "4 8k",
                Action::Set(large_header_buffers),
                "How many large buffers a request's head may use, and how long a line may be.";
            "max_headers" in HTTP_SERVER, Exactly(1), "1000",
                set!(SETTINGS.max_headers, values::integer),
                "How many header fields a request may have.";
            "ignore_invalid_headers" in HTTP_SERVER, Flag, "on",
                set!(SETTINGS.ignore_invalid_headers, values::flag),
                "Passes over header fields whose names have unusual characters.";
            "underscores_in_headers" in HTTP_SERVER, Flag, "off",
                set!(SETTINGS.underscores_in_headers, values::flag),
                "Takes an underscore for a usual character in the names of header fields.";
            "client_max_body_size" in HTTP_SERVER_LOCATION, Exactly(1), "1m",
                set!(SETTINGS.max_body_size, values::offset),
                "The largest request body, answered with 413 above it; 0 is no limit.";
            "client_body_buffer_size" in HTTP_SERVER_LOCATION, Exactly(1), "8k",
                set!(SETTINGS.body_buffer_size, values::size),
                "How much of a request body is kept in memory before it goes to a file.";
            "client_body_temp_path" in HTTP_SERVER_LOCATION, Between(1, 4), "client_body_temp",
                Action::Set(body_temp_path),
                "Where request bodies are written, with up to three levels of folders.";
            "client_body_in_file_only" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                set!(SETTINGS.body_in_file_only, in_file_only),
                "Writes every request body to a file, which stays (on) or is removed (clean).";
            "client_body_in_single_buffer" in HTTP_SERVER_LOCATION, Flag, "off",
                Action::Checked(
                    |directive| values::flag(directive).map(drop),
                    "a request body in memory is always one buffer",
                ),
                "Accepted: a request body in memory is always one buffer.";
            "client_body_early_read" in HTTP_SERVER, AtLeast(1), "", Action::Set(body_early_read),
                "Reads a request's body before its location is chosen, where a value is neither empty nor 0.";
            "connection_pool_size" in HTTP_SERVER, Exactly(1), "512", POOLS,
                "Accepted: memory is not taken from such pools.";
            "request_pool_size" in HTTP_SERVER, Exactly(1), "4k", POOLS,
                "Accepted: memory is not taken from such pools.";
        },
    },
    temporary: |settings| {
        settings.of(&SETTINGS).body_temp_path.as_ref().map(|path| path.folder.as_path())
    },
    ..HttpModule::EMPTY
};

fn large_header_buffers(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let buffers = values::buffers(directive)?;
    let settings = loader.settings(&SETTINGS);
    settings.large_header_buffers.set(buffers)?;
    Ok(())
}

fn body_early_read(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let predicates: Result<_, _> = directive.args.iter().map(|word| loader.script(word)).collect();
    loader.settings(&SETTINGS).body_early_read.set(predicates?)?;
    Ok(())
}

fn in_file_only(directive: &conf::Directive) -> Result<InFileOnly, Fault> {
    use InFileOnly::*;
    values::choice(directive, &[("off", Off), ("on", On), ("clean", Clean)])
}

fn body_temp_path(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let path = temp_path(loader, directive)?;
    loader.settings(&SETTINGS).body_temp_path.set(Some(path))?;
    Ok(())
}

/// A folder and up to three levels below it, each of one to three digits of a file's name.
pub fn temp_path(loader: &Loader<'_>, directive: &conf::Directive) -> Result<TempPath, Fault> {
    let mut levels = Vec::new();
    for word in &directive.args[1..] {
        match word.as_str().ok().and_then(|text| text.parse().ok()) {
            Some(level @ 1..=3) => levels.push(level),
            _ => return Err(Fault::from("invalid value").at(word.span)),
        }
    }
    let folder = loader.paths.in_prefix(values::text(directive)?);
    Ok(TempPath { folder, levels })
}
