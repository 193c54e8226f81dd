//! How responses are sent: pace, pieces, and what the head tells.

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Action, Module, SettingsKey};
use daemun_core::script::{Script, Session};
use daemun_core::{directives, set, settings, values};

use super::aio::{self, Aio};
use crate::module::HttpModule;

/// What `Server`, and the foot of error pages, tell about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTokens {
    Off,
    /// Name and version.
    On,
    /// Name, version and build.
    Build,
}

/// A rate or an amount that may be computed; 0 is no limit.
#[derive(Clone, Debug)]
pub enum Amount {
    Fixed(u64),
    Computed(Script),
}

impl Amount {
    /// What is no amount counts as 0.
    pub fn of(&self, session: &mut impl Session) -> u64 {
        match self {
            Amount::Fixed(amount) => *amount,
            Amount::Computed(script) => units::offset(&script.value(session)).unwrap_or(0),
        }
    }
}

settings! {
    pub struct Settings {
        send_timeout: Duration = Duration::from_secs(60),
        sendfile: bool = false,
        /// 0: no limit.
        sendfile_max_chunk: usize = 2 << 20,
        output_buffers: (usize, usize) = (2, 32 << 10),
        postpone_output: usize = 1460,
        /// Bytes a second; 0: no limit.
        limit_rate: Amount = Amount::Fixed(0),
        limit_rate_after: Amount = Amount::Fixed(0),
        chunked_transfer_encoding: bool = true,
        server_tokens: ServerTokens = ServerTokens::On,
        etag: bool = true,
        /// `None`: no limit.
        max_ranges: Option<usize> = None,
        if_modified_since: IfModifiedSince = IfModifiedSince::Exact,
        msie_padding: bool = true,
        msie_refresh: bool = false,
        aio: Aio = Aio::Off,
        /// Temporary files are written by the threads of `aio`.
        aio_write: bool = false,
        /// Files from this length on are read without the kernel's cache.
        directio: Option<u64> = None,
        directio_alignment: usize = 512,
    }
}

/// How `If-Modified-Since` is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfModifiedSince {
    Off,
    Exact,
    Before,
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

const KERNEL_DECIDES: Action = Action::Checked(
    |directive| values::size(directive).map(drop),
    "the kernel decides better on this system",
);

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_core",
        settings: Some(&SETTINGS),
        directives: directives! {
            "send_timeout" in HTTP_SERVER_LOCATION, Exactly(1), "60s",
                set!(SETTINGS.send_timeout, values::milliseconds),
                "How long a client may take nothing of a response.";
            "sendfile" in HTTP_SERVER_LOCATION | LOCATION_IF, Flag, "off",
                set!(SETTINGS.sendfile, values::flag),
                "Sends files without copying them through the server.";
            "sendfile_max_chunk" in HTTP_SERVER_LOCATION, Exactly(1), "2m",
                set!(SETTINGS.sendfile_max_chunk, values::size),
                "How much of a file is sent before other connections have their turn.";
            "output_buffers" in HTTP_SERVER_LOCATION, Exactly(2), "2 32k",
                Action::Set(output_buffers),
                "How much of a file is read at a time where it is not sent by sendfile.";
            "postpone_output" in HTTP_SERVER_LOCATION, Exactly(1), "1460",
                set!(SETTINGS.postpone_output, values::size),
                "How much of a response is gathered before it is sent.";
            "limit_rate" in HTTP_SERVER_LOCATION | LOCATION_IF, Exactly(1), "0",
                Action::Set(limit_rate),
                "How many bytes a second a response is sent with; 0 is no limit.";
            "limit_rate_after" in HTTP_SERVER_LOCATION | LOCATION_IF, Exactly(1), "0",
                Action::Set(limit_rate_after),
                "How many bytes of a response are sent before limit_rate applies.";
            "chunked_transfer_encoding" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.chunked_transfer_encoding, values::flag),
                "Sends responses of unknown length in chunks.";
            "server_tokens" in HTTP_SERVER_LOCATION, Exactly(1), "on",
                set!(SETTINGS.server_tokens, server_tokens),
                "What the Server header and error pages tell about the server.";
            "etag" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.etag, values::flag),
                "Sends entity tags with files.";
            "max_ranges" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.max_ranges, |directive| values::integer(directive).map(Some)),
                "How many ranges a request may ask for; 0 turns ranges off.";
            "if_modified_since" in HTTP_SERVER_LOCATION, Exactly(1), "exact",
                set!(SETTINGS.if_modified_since, if_modified_since),
                "How a file's time is compared with If-Modified-Since.";
            "msie_padding" in HTTP_SERVER_LOCATION, Flag, "on",
                set!(SETTINGS.msie_padding, values::flag),
                "Lengthens error pages for browsers that hide short ones.";
            "msie_refresh" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.msie_refresh, values::flag),
                "Redirects Internet Explorer by pages that refresh themselves.";
            "send_lowat" in HTTP_SERVER_LOCATION, Exactly(1), "0",
                Action::Unsupported(|directive| values::size(directive).map(drop)),
                "Accepted, with a warning: this system has no such limit.";
            "read_ahead" in HTTP_SERVER_LOCATION, Exactly(1), "0", KERNEL_DECIDES,
                "Accepted: the kernel decides better on this system.";
            "directio" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                set!(SETTINGS.directio, directio),
                "The length from which on files are read past the kernel's cache, and not by sendfile.";
            "directio_alignment" in HTTP_SERVER_LOCATION, Exactly(1), "512",
                set!(SETTINGS.directio_alignment, values::size),
                "What the file system wants places and lengths of such reads to be multiples of.";
            "aio" in HTTP_SERVER_LOCATION, Exactly(1), "off",
                Action::Set(aio::aio),
                "Has files read by a pool of threads (threads, threads=POOL) instead of the worker.";
            "aio_write" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.aio_write, values::flag),
                "Has temporary files written by the threads of aio.";
        },
    },
    ..HttpModule::EMPTY
};

fn directio(directive: &conf::Directive) -> Result<Option<u64>, Fault> {
    match &*directive.args[0].text {
        b"off" => Ok(None),
        _ => values::offset(directive).map(Some),
    }
}

fn output_buffers(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let buffers = values::buffers(directive)?;
    loader.settings(&SETTINGS).output_buffers.set(buffers)?;
    Ok(())
}

fn limit_rate(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let amount = amount(loader, directive)?;
    loader.settings(&SETTINGS).limit_rate.set(amount)?;
    Ok(())
}

fn limit_rate_after(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let amount = amount(loader, directive)?;
    loader.settings(&SETTINGS).limit_rate_after.set(amount)?;
    Ok(())
}

/// An amount that may have variables.
pub fn amount(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Amount, Fault> {
    let script = loader.script(&directive.args[0])?;
    match script.as_literal() {
        Some(_) => values::offset(directive).map(Amount::Fixed),
        None => Ok(Amount::Computed(script)),
    }
}

fn server_tokens(directive: &conf::Directive) -> Result<ServerTokens, Fault> {
    use ServerTokens::*;
    values::choice(directive, &[("on", On), ("off", Off), ("build", Build)])
}

fn if_modified_since(directive: &conf::Directive) -> Result<IfModifiedSince, Fault> {
    use IfModifiedSince::*;
    values::choice(directive, &[("off", Off), ("exact", Exact), ("before", Before)])
}
