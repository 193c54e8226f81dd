//! `aio threads`: files are read, and written, by a pool's threads, so that one that blocks stalls nobody else.

use daemun_conf as conf;
use daemun_conf::{Diagnostics, Span};
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::script::Script;
use daemun_core::thread_pool::{self, PoolSpec, Ticket};

use super::sending;
use crate::config::Location;
use crate::request::{Request, Text};

/// Who reads files.
#[derive(Clone, Debug)]
pub enum Aio {
    /// The worker itself.
    Off,
    /// A pool of this name, which may be computed; where it was written.
    Threads(Script, Span),
}

impl Aio {
    pub fn uses_threads(&self) -> bool {
        matches!(self, Aio::Threads(..))
    }
}

/// `aio`. With `on` the worker reads: the kernel's own interface blocks for all but direct reads, and `io_uring` is
/// the better one.
pub(super) fn aio(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let word = &directive.args[0];
    let aio = match &*word.text {
        b"on" | b"off" => Aio::Off,
        b"threads" => Aio::Threads(Script::literal(PoolSpec::DEFAULT.as_bytes()), word.span),
        [b't', b'h', b'r', b'e', b'a', b'd', b's', b'=', name @ ..] => {
            let name = conf::Word { text: name.into(), ..word.clone() };
            Aio::Threads(loader.script(&name)?, word.span)
        }
        _ => return Err("invalid value".into()),
    };
    loader.settings(&sending::SETTINGS).aio.set(aio)?;
    Ok(())
}

/// Every pool that is named by its name must be there.
pub(crate) fn check<'l>(
    locations: impl Iterator<Item = &'l Location>,
    pools: &[PoolSpec],
    diagnostics: &mut Diagnostics,
) {
    let mut told: Vec<Span> = Vec::new();
    for location in locations {
        let Aio::Threads(name, span) = &*location.settings.of(&sending::SETTINGS).aio else {
            continue;
        };
        let Some(name) = name.as_literal() else {
            continue;
        };
        let is_known = pools.iter().any(|pool| pool.name.as_bytes() == name);
        if !is_known && !told.contains(span) {
            told.push(*span);
            diagnostics.emerg(format!("unknown thread pool \"{}\"", Text(name)), *span);
        }
    }
}

/// Whether threads write temporary files for this request (`aio_write`).
pub(crate) fn writes(request: &Request) -> bool {
    let sending = &request.core().sending;
    *sending.aio_write && sending.aio.uses_threads()
}

/// A place for a task in the pool that the request's location names; what stands against it is logged.
pub(crate) fn admit(request: &mut Request) -> Option<Ticket> {
    let Aio::Threads(script, _) = &*request.core().sending.aio else {
        return None;
    };
    let name = script.value(request);
    let pools = &request.config.surroundings.thread_pools;
    let Some(pool) = pools.iter().find(|pool| pool.name.as_bytes() == name) else {
        log!(request.log(), Error, *request, "thread pool \"{}\" not found", Text(&name));
        return None;
    };
    thread_pool::running(pool).admit(request.log())
}
