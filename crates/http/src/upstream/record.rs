//! What a request remembers of the upstream servers it was passed to: for variables, for the log.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use daemun_event::Millis;

use super::cache::caching::{Caching, Held};
use super::head::Head;
use crate::module::Later;
use crate::request::Text;
use crate::response::Header;

/// The tries so far, and the response of the last one.
#[derive(Default)]
pub struct Record {
    pub tries: Vec<Try>,
    /// The next try is the first of another group.
    begins_group: bool,
    /// The response's head, so much as could be read of it, for `$upstream_http_NAME` and `$upstream_cookie_NAME`.
    pub head: Head,
    /// What the response is to be in (`X-Accel-Charset`).
    pub charset: Option<Bytes>,
    /// `$upstream_trailer_NAME`.
    pub trailers: Vec<Header>,
    /// `http://` and the like, for the log.
    pub scheme: &'static str,
    /// What the upstream was asked for, for the log.
    pub uri: Vec<u8>,
    /// `$proxy_host` and `$proxy_port`.
    pub host: Vec<u8>,
    pub port: Vec<u8>,
    /// Bytes of the request's body that the upstream gets; `None` where their number is not known beforehand.
    pub body_length: Option<u64>,
    /// The response is kept as a file: it is read to its end also when the client has gone.
    pub is_stored: bool,
    /// Who has passed the request on.
    pub handler: Option<Later>,
    /// What the request has to do with a cache.
    pub caching: Option<Box<Caching>>,
    /// Of a request that is made for the cache's sake: the entry that it is to fill.
    pub claim: Option<Held>,
    /// The request's body goes out in chunks.
    pub is_chunked: bool,
    /// The head of the request, kept for its storage, and what is being sent behind it.
    pub request: Vec<u8>,
}

/// One try of one peer.
#[derive(Clone, Default)]
pub struct Try {
    /// `None` marks the place between two groups.
    pub peer: Option<Arc<str>>,
    /// The peer's name is a path.
    pub is_unix: bool,
    pub status: u16,
    pub started: Millis,
    /// Milliseconds since `started`.
    pub connect_time: Option<Millis>,
    pub header_time: Option<Millis>,
    pub response_time: Option<Millis>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub response_length: u64,
}

/// How many records between uses a thread keeps.
const SPARE: usize = 64;

thread_local! {
    #[expect(clippy::vec_box, reason = "records stay in their boxes, and requests hold those")]
    static UNUSED: RefCell<Vec<Box<Record>>> = const { RefCell::new(Vec::new()) };
}

impl Record {
    /// An empty one, with the storage of one that was used before.
    pub fn fresh() -> Box<Record> {
        UNUSED.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Keeps the storage for another request.
    pub fn put_back(mut self: Box<Self>) {
        self.forget_response();
        self.tries.clear();
        self.begins_group = false;
        self.forget_request();
        self.forget_cache();
        UNUSED.with_borrow_mut(|unused| {
            if unused.len() < SPARE {
                unused.push(self);
            }
        });
    }

    /// Makes ready for another upstream, after one that led elsewhere. The tries stay.
    pub fn begin_again(&mut self) {
        self.begins_group = !self.tries.is_empty();
        self.caching = None;
        self.forget_response();
        self.forget_request();
    }

    /// Forgets what the last try's peer has answered.
    fn forget_response(&mut self) {
        self.head.clear();
        self.charset = None;
        self.trailers.clear();
        self.is_stored = false;
    }

    /// Whatever is held of a cache is let go of.
    fn forget_cache(&mut self) {
        self.caching = None;
        self.claim = None;
    }

    /// Not all protocols say where a request goes, and as what.
    fn forget_request(&mut self) {
        self.uri.clear();
        self.host.clear();
        self.port.clear();
    }

    /// Counts another try, after one that led to nothing.
    pub fn begin_try(&mut self) {
        if !self.tries.is_empty() {
            self.settle_time();
        }
        if std::mem::take(&mut self.begins_group) {
            self.tries.push(Try::default());
        }
        self.tries.push(Try { started: daemun_event::now(), ..Try::default() });
    }

    /// Forgets what was answered before the last try, whose peer is about to be asked.
    pub fn forget_earlier(&mut self) {
        if self.tries.len() > 1 {
            self.forget_response();
        }
    }

    pub fn last_try(&mut self) -> &mut Try {
        if self.tries.is_empty() {
            self.tries.push(Try::default());
        }
        let last = self.tries.len() - 1;
        &mut self.tries[last]
    }

    /// The last try has ended, however that was.
    pub fn settle_time(&mut self) {
        if let Some(last) = self.tries.last_mut()
            && last.peer.is_some()
            && last.response_time.is_none()
        {
            last.response_time = Some(last.age());
        }
    }

    /// `, upstream: "http://127.0.0.1:8080/path"`.
    pub fn describe(&self, line: &mut dyn fmt::Write) -> fmt::Result {
        let Some(Try { peer: Some(name), is_unix, .. }) = self.tries.last() else { return Ok(()) };
        let separator = if *is_unix { ":" } else { "" };
        let (scheme, uri) = (self.scheme, Text(&self.uri));
        write!(line, ", upstream: \"{scheme}{name}{separator}{uri}\"")
    }
}

impl Try {
    /// Milliseconds since it began.
    pub fn age(&self) -> Millis {
        daemun_event::now().saturating_sub(self.started)
    }
}
