//! The head of a response, as handlers and filters build it.

use std::time::SystemTime;

use bytes::Bytes;
use daemun_core::script::Script;

use crate::date;
use crate::status::Status;

/// A header field that no fixed place exists for.
#[derive(Clone, Debug)]
pub struct Header {
    pub name: Bytes,
    pub value: Bytes,
}

impl Header {
    /// The place and the name, as whoever set it spelt that, of a field whose value is known to filters: it is in the
    /// response's field of that name.
    pub fn stand_in(name: Bytes) -> Header {
        Header { name, value: Bytes::new() }
    }

    #[inline]
    pub fn stands_in_for(&self, name: &[u8]) -> bool {
        self.value.is_empty() && self.name.eq_ignore_ascii_case(name)
    }
}

/// A field behind the body, whose value is known once the body is sent.
#[derive(Clone, Debug)]
pub struct Trailer {
    pub name: Bytes,
    pub value: Script,
    /// Errors have it too.
    pub always: bool,
}

/// Fields with places of their own are sent in nginx's order; the others follow in the order they were added. Those
/// that an upstream sent or the configuration adds stand among the others ([`Header::stand_in`]).
#[derive(Default)]
pub struct ResponseHead {
    pub status: Status,
    /// Code and reason as an upstream spelt them.
    pub status_text: Option<Bytes>,
    /// It is an upstream's, which has seen the request's conditions.
    pub is_foreign: bool,
    /// `Server` and `Date` are the upstream's own, which may not have sent them: none are made up.
    pub leaves_server: bool,
    pub leaves_date: bool,
    /// Status line text of `return CODE` and the like that have none of their own is left out.
    pub content_type: Option<Bytes>,
    /// Appended to the type as `; charset=...`.
    pub charset: Option<Bytes>,
    /// The whole field as an upstream spelt it, from which the two above were taken: it counts while they are the same.
    pub spelt_type: Option<Bytes>,
    /// `None`: unknown, so the body is chunked or ends with the connection.
    pub content_length: Option<u64>,
    pub last_modified: Option<LastModified>,
    pub etag: Option<Bytes>,
    /// The coding of the body, whose field stands among the others. What the configuration adds as such a field says
    /// nothing of the body.
    pub encoding: Option<Bytes>,
    /// Relative ones are completed when they are sent.
    pub location: Option<Bytes>,
    pub headers: Vec<Header>,
    /// Only a body in chunks can have them, and so it is sent in chunks where the client understands that.
    pub trailers: Vec<&'static Trailer>,
    /// Those that an upstream sent behind its body; known once that has come.
    pub late_trailers: Vec<Header>,
    /// Those that went out, with their values.
    pub sent_trailers: Vec<Header>,
    /// The body can be cut into ranges.
    pub allows_ranges: bool,
    /// Several ranges are too many for it.
    pub is_cut_once: bool,
    /// `Vary: Accept-Encoding` is sent.
    pub varies_by_encoding: bool,
}

/// A time of last modification with its spelling.
#[derive(Clone, Debug)]
pub struct LastModified {
    /// Seconds since 1970, where the spelling was made of them.
    known: Option<i64>,
    pub text: Bytes,
}

impl LastModified {
    pub fn new(seconds: i64) -> LastModified {
        let time = SystemTime::UNIX_EPOCH
            + std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        LastModified { known: Some(seconds), text: httpdate::fmt_http_date(time).into() }
    }

    /// A time as somebody else spelt it, which few ask for.
    pub fn spelt(text: Bytes) -> LastModified {
        LastModified { known: None, text }
    }

    /// Seconds since 1970; -1 where the spelling is no date.
    pub fn seconds(&self) -> i64 {
        self.known.or_else(|| date::parse(&self.text)).unwrap_or(-1)
    }

    /// The seconds of a date that is most often this very one, spelt the same.
    pub fn read(&self, date: &[u8]) -> Option<i64> {
        if self.text == date { Some(self.seconds()) } else { date::parse(date) }
    }
}

impl ResponseHead {
    /// Forgets everything and keeps the storage.
    pub fn reset(&mut self) {
        self.status = Status::default();
        self.encoding = None;
        self.location = None;
        self.leaves_server = false;
        self.leaves_date = false;
        self.varies_by_encoding = false;
        self.charset = None;
        self.is_cut_once = false;
        self.headers.clear();
        self.trailers.clear();
        self.late_trailers.clear();
        self.sent_trailers.clear();
        self.clear_entity();
    }

    pub fn add(&mut self, name: &'static str, value: impl Into<Bytes>) {
        self.headers
            .push(Header { name: Bytes::from_static(name.as_bytes()), value: value.into() });
    }

    /// Every value of a field that has no place of its own.
    pub fn values<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h Bytes> {
        let matches = move |header: &&Header| header.name.eq_ignore_ascii_case(name);
        self.headers.iter().filter(matches).map(|header| &header.value)
    }

    /// The body is already encoded.
    pub fn is_encoded(&self) -> bool {
        self.encoding.as_ref().is_some_and(|coding| !coding.is_empty())
    }

    /// Tells the coding of the body.
    pub fn set_encoding(&mut self, coding: &'static str) {
        self.encoding = Some(Bytes::from_static(coding.as_bytes()));
        self.add("Content-Encoding", coding);
    }

    /// The body is in no coding any more.
    pub fn clear_encoding(&mut self) {
        if self.encoding.take().is_some() {
            self.remove(b"Content-Encoding");
        }
    }

    /// Appends what `Content-Type` says; `false` where there is none.
    pub fn append_type(&self, out: &mut Vec<u8>) -> bool {
        let Some(kind) = &self.content_type else { return false };
        if let Some(spelt) = self.spelt_type.as_ref().filter(|spelt| self.is_spelt(kind, spelt)) {
            out.extend_from_slice(spelt);
            return true;
        }
        out.extend_from_slice(kind);
        if let Some(charset) = &self.charset {
            out.extend_from_slice(b"; charset=");
            out.extend_from_slice(charset);
        }
        true
    }

    /// Whether an upstream's field says the type and the charset that the response has.
    fn is_spelt(&self, kind: &[u8], spelt: &[u8]) -> bool {
        split_charset(spelt)
            .is_some_and(|(of, charset)| of == kind && self.charset.as_deref() == Some(charset))
    }

    /// Another length, unknown yet, and other bytes: for a filter that rewrites the body.
    pub fn rewrites_body(&mut self) {
        self.content_length = None;
        self.refuse_ranges();
    }

    pub fn refuse_ranges(&mut self) {
        self.allows_ranges = false;
        self.remove(b"Accept-Ranges");
    }

    /// What is sent means the same as what the entity tag stands for, and has not its bytes.
    pub fn weaken_etag(&mut self) {
        let Some(etag) = self.etag.take() else { return };
        self.etag = match &*etag {
            [b'W', b'/', ..] => Some(etag),
            [b'"', ..] => Some([b"W/", &*etag].concat().into()),
            _ => None,
        };
    }

    /// Whether a field of the response's own stands among the others.
    pub fn has_stand_in(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|header| header.stands_in_for(name))
    }

    /// Sets the one field of that name, where the first of them stands if there is one.
    pub fn replace(&mut self, name: &'static str, value: Bytes) {
        let mut value = Some(value);
        self.headers.retain_mut(|header| {
            if !header.name.eq_ignore_ascii_case(name.as_bytes()) {
                return true;
            }
            let first = value.take().map(|value| header.value = value);
            first.is_some()
        });
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Has a field whose value is in the response's field of that name stand among the others, under this name: at this
    /// place unless it has one.
    pub fn place(&mut self, name: &Bytes, at: usize) {
        match self.headers.iter_mut().find(|header| header.stands_in_for(name)) {
            Some(header) => header.name = name.clone(),
            None => self.headers.insert(at, Header::stand_in(name.clone())),
        }
    }

    pub fn remove(&mut self, name: &[u8]) {
        self.headers.retain(|header| !header.name.eq_ignore_ascii_case(name));
    }

    /// Forgets what belongs to a body that another one replaces. A character set that an upstream told stays, as in nginx.
    pub fn clear_entity(&mut self) {
        self.status_text = None;
        self.is_foreign = false;
        self.content_type = None;
        self.spelt_type = None;
        self.content_length = None;
        self.last_modified = None;
        self.etag = None;
        self.clear_encoding();
        self.trailers.clear();
        self.headers.retain(|header| {
            !header.stands_in_for(b"Last-Modified") && !header.stands_in_for(b"ETag")
        });
        self.refuse_ranges();
    }
}

/// Splits a media type from its character set, where it tells one.
pub fn split_charset(value: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr::memchr_iter(b';', value).find_map(|semicolon| {
        let parameter = value[semicolon + 1..].trim_ascii_start();
        let (name, charset) = parameter.split_at_checked(8)?;
        if !name.eq_ignore_ascii_case(b"charset=") {
            return None;
        }
        let charset = charset.strip_prefix(b"\"").unwrap_or(charset);
        let charset = charset.strip_suffix(b"\"").unwrap_or(charset);
        Some((&value[..semicolon], charset))
    })
}
