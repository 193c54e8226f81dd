//! `ssl_ocsp` and `ssl_stapling`: an authority is asked about certificates, over plain HTTP (RFC 6960 appendix A).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use daemun_core::listen::Address;
use daemun_core::log;
use daemun_event::{Deadline, Stream};
use daemun_tls::ocsp::{self, Answer, Status};
use daemun_tls::x509::time::Time;
use daemun_upstream::Url;
use lru::LruCache;

use crate::core::resolving;

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Responder {
    url: Arc<Url>,
}

/// Why there is no answer, for the log.
#[derive(Debug)]
pub enum Trouble {
    Words(String),
    Io(&'static str, io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Words(words) => f.write_str(words),
            Trouble::Io(what, error) => write!(f, "{what} ({error})"),
        }
    }
}

/// How long a responder may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer.
const LONGEST: usize = 64 * 1024;

impl Responder {
    /// The error is nginx's reason.
    pub fn parse(text: &str) -> Result<Responder, String> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err("invalid URL prefix".to_owned());
        };
        let url = Url::parse(rest.as_bytes(), Some(80)).map_err(|reason| reason.to_string())?;
        Ok(Responder { url: Arc::new(url) })
    }

    /// Asks, and reads what is answered about the certificate.
    pub async fn ask(
        &self,
        resolving: &resolving::Settings,
        subject: &Subject,
        trusts_issuer_alone: bool,
        now: Time,
    ) -> Result<(Vec<u8>, Answer), Trouble> {
        let Subject { certificate, issuer } = subject;
        let question = ocsp::request(certificate, issuer)
            .ok_or_else(|| Trouble::Words("OCSP_cert_to_id() failed".to_owned()))?;
        let response = self.exchange(resolving, &question).await?;
        let answer = ocsp::read(&response, certificate, issuer, trusts_issuer_alone, now)
            .map_err(|fault| Trouble::Words(fault.to_string()))?;
        Ok((response, answer))
    }

    async fn exchange(
        &self,
        resolving: &resolving::Settings,
        question: &[u8],
    ) -> Result<Vec<u8>, Trouble> {
        let deadline = Deadline::after(PATIENCE);
        let address = self.address(resolving).await?;
        let stream = Stream::connect(address, deadline).await;
        let stream = stream.map_err(|error| Trouble::of("connect() failed", error))?;
        let sent = stream.send_all(&self.request(question), PATIENCE).await;
        sent.map_err(|error| Trouble::of("send() failed", error))?;
        let mut response = Vec::new();
        loop {
            let piece = stream.recv_pooled(deadline).await;
            let piece = piece.map_err(|error| Trouble::of("recv() failed", error))?;
            if piece.is_empty() {
                return body(response);
            }
            response.extend_from_slice(&piece);
            if response.len() > LONGEST {
                return Err(Trouble::Words("OCSP responder sent too long response".to_owned()));
            }
        }
    }

    async fn address(&self, resolving: &resolving::Settings) -> Result<SocketAddr, Trouble> {
        let url = &self.url;
        if let Some(Address::Ip(address)) = &url.address {
            return Ok(*address);
        }
        let host = &url.host;
        let Some(resolver) = &*resolving.resolver else {
            return Err(Trouble::Words(format!("no resolver defined to resolve {host}")));
        };
        let found = Box::pin(resolver.lookup(host.as_bytes(), *resolving.timeout)).await;
        let found = found
            .map_err(|error| Trouble::Words(format!("{host} could not be resolved ({error})")))?;
        let first = found.list.first().copied();
        let first = first.ok_or_else(|| Trouble::Words(format!("{host} has no address")))?;
        Ok(SocketAddr::new(first, url.port.unwrap_or(80)))
    }

    fn request(&self, question: &[u8]) -> Vec<u8> {
        let mut path = String::from_utf8_lossy(&self.url.uri).into_owned();
        if !path.ends_with('/') {
            path.push('/');
        }
        for character in STANDARD.encode(question).chars() {
            match character {
                '+' => path.push_str("%2B"),
                '/' => path.push_str("%2F"),
                '=' => path.push_str("%3D"),
                character => path.push(character),
            }
        }
        format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.url.host).into_bytes()
    }
}

impl Trouble {
    fn of(what: &'static str, error: io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::TimedOut => Trouble::Words("OCSP responder timed out".to_owned()),
            _ => Trouble::Io(what, error),
        }
    }
}

/// What follows the head of a response that is one.
fn body(response: Vec<u8>) -> Result<Vec<u8>, Trouble> {
    let invalid = || Trouble::Words("OCSP responder sent invalid response".to_owned());
    if response.is_empty() {
        let words = "OCSP responder prematurely closed connection";
        return Err(Trouble::Words(words.to_owned()));
    }
    let (end, length) = memchr::memmem::find(&response, b"\r\n\r\n")
        .map(|end| (end, 4))
        .or_else(|| memchr::memmem::find(&response, b"\n\n").map(|end| (end, 2)))
        .ok_or_else(invalid)?;
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5));
    if status != Some("200") {
        return Err(invalid());
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-type") && value != "application/ocsp-response" {
            let words = format!("OCSP responder sent invalid \"Content-Type\" header: \"{value}\"");
            return Err(Trouble::Words(words));
        }
    }
    Ok(response[end + length..].to_vec())
}

/// A certificate and the authority that issued it, in DER.
#[derive(Clone)]
pub struct Subject {
    pub certificate: Box<[u8]>,
    pub issuer: Box<[u8]>,
}

/// `ssl_ocsp`: how far a client's chain is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    Leaf,
    All,
}

/// What a server wants to know of its clients' certificates.
pub struct Check {
    pub depth: Depth,
    /// `ssl_ocsp_responder`; else the certificates say.
    pub responder: Option<Responder>,
    pub cache: Option<Arc<Cache>>,
}

/// Answers that were given, until they are over.
pub struct Cache(Mutex<LruCache<Vec<u8>, (Status, Time)>>);

impl Cache {
    pub fn new(most: NonZeroUsize) -> Cache {
        let mut known = LruCache::unbounded();
        known.resize(most);
        Cache(Mutex::new(known))
    }

    fn with<R>(&self, work: impl FnOnce(&mut LruCache<Vec<u8>, (Status, Time)>) -> R) -> R {
        // A table of answers is whole between any two of its functions.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why a client's certificate will not do, as `$ssl_client_verify` has it.
const FAILED: &str = "certificate status request failed";

impl Check {
    /// Asks about a chain, the client's own certificate first; `Some` says what is wrong.
    pub async fn run(
        &self,
        chain: &[Box<[u8]>],
        resolving: &resolving::Settings,
        log: &log::Log,
        origin: &dyn log::Origin,
    ) -> Option<&'static str> {
        let asked = match self.depth {
            Depth::Leaf => 1,
            Depth::All => usize::MAX,
        };
        for pair in chain.windows(2).take(asked) {
            let subject = Subject { certificate: pair[0].clone(), issuer: pair[1].clone() };
            match self.status(&subject, resolving).await {
                Ok(Status::Good) => {}
                Ok(Status::Revoked) => return Some("certificate revoked"),
                Ok(Status::Unknown) => return Some("certificate status unknown"),
                Err(trouble) => {
                    log!(log, Error, *origin, "{}", trouble);
                    return Some(FAILED);
                }
            }
        }
        None
    }

    async fn status(
        &self,
        subject: &Subject,
        resolving: &resolving::Settings,
    ) -> Result<Status, Trouble> {
        let now = now();
        let key = ocsp::key(&subject.certificate, &subject.issuer).unwrap_or_default();
        if let Some(cache) = &self.cache {
            let known = cache.with(|known| known.get(&key).copied());
            if let Some((status, until)) = known
                && now < until
            {
                return Ok(status);
            }
        }
        let own;
        let responder = match &self.responder {
            Some(responder) => responder,
            None => {
                let url = ocsp::responder(&subject.certificate).ok_or_else(|| {
                    Trouble::Words("no OCSP responder URL in certificate".to_owned())
                })?;
                own = Responder::parse(&url).map_err(|reason| {
                    Trouble::Words(format!("{reason} in OCSP responder \"{url}\" in certificate"))
                })?;
                &own
            }
        };
        let (_, answer) = responder.ask(resolving, subject, true, now).await?;
        if let (Some(cache), Some(until)) = (&self.cache, answer.until) {
            cache.with(|known| known.put(key, (answer.status, until)));
        }
        Ok(answer.status)
    }
}

pub(super) fn now() -> Time {
    let since = daemun_event::wall_clock().duration_since(std::time::UNIX_EPOCH);
    Time(since.unwrap_or_default().as_secs().cast_signed())
}
