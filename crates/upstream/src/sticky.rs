//! `sticky`: requests of one session go to one peer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use daemun_core::script::{Session, VariableId};
use daemun_core::zones::ZoneRef;

/// How a session's peer is known.
#[derive(Clone, Debug)]
pub enum Sticky {
    /// Requests bring the peer's id, in the first of these variables that is not empty. `tell` lets clients know it.
    Told { lookup: Vec<VariableId>, tell: Option<Tell> },
    /// The peers' answers name the sessions that they begin.
    Learned(Learn),
}

/// `sticky learn`.
#[derive(Clone, Debug)]
pub struct Learn {
    /// Where a request names its session: the first that is not empty.
    pub lookup: Vec<VariableId>,
    /// Where an answer names a session that begins.
    pub create: Vec<VariableId>,
    pub zone: ZoneRef,
    /// After which a session that was not used is forgotten.
    pub timeout: Duration,
    /// As soon as the head of the answer is there, not once all of it is.
    pub at_head: bool,
}

/// Appends what tells a client the id of its peer, in the words of the protocol.
#[derive(Clone)]
pub struct Tell(pub Arc<Words>);

type Words = dyn Fn(&mut dyn Session, &str, &mut Vec<u8>) + Send + Sync;

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

impl Sticky {
    /// What the request says about its session or peer.
    pub(crate) fn looked_up(&self, session: &mut dyn Session) -> Option<Vec<u8>> {
        match self {
            Sticky::Told { lookup, .. } => first(lookup, session),
            Sticky::Learned(learn) => first(&learn.lookup, session),
        }
    }
}

/// The first of the variables that has a value.
pub(crate) fn first(variables: &[VariableId], session: &mut dyn Session) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    for variable in variables {
        value.clear();
        if session.variable(*variable, &mut value) && !value.is_empty() {
            return Some(value);
        }
    }
    None
}
