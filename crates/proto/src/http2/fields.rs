//! What a header section may look like (RFC 9113, section 8).
//!
//! A section that breaks a rule is read to its end all the same: the table of the connection goes
//! on by it. Its owner is told of the first rule that was broken, and decides between an answer and
//! a reset.

use super::hpack::{Field, Meaning};
use super::{Code, Config, Cost, Fatal, Priority};
use crate::decimal::decimal;
use crate::http1::{HeaderLine, Range};

/// Where fields are read into: bytes, and lines that are offsets into them. So a request's head can
/// take them as it takes those of HTTP/1.
pub trait Sink {
    /// Names and values are appended here.
    fn bytes(&mut self) -> &mut Vec<u8>;

    /// A field that is none of the pseudo-header fields. Crumbs of cookies come as one field,
    /// behind the others.
    fn add(&mut self, field: HeaderLine);
}

/// The plain sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub bytes: Vec<u8>,
    pub fields: Vec<HeaderLine>,
}

impl Sink for Head {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn add(&mut self, field: HeaderLine) {
        self.fields.push(field);
    }
}

impl Head {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Names and values in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }
}

/// The pseudo-header fields, as offsets into the sink's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pseudo {
    pub method: Option<Range>,
    pub scheme: Option<Range>,
    pub authority: Option<Range>,
    pub path: Option<Range>,
    /// What an extended CONNECT is for (RFC 8441).
    pub protocol: Option<Range>,
    /// A response's status; zero in requests.
    pub status: u16,
}

/// Why a message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Name,
    Value,
    LatePseudo,
    UnknownPseudo,
    DuplicatePseudo,
    EmptyPseudo,
    NoMethod,
    NoScheme,
    NoPath,
    NoAuthority,
    NoStatus,
    Status,
    Protocol,
    /// `:authority` and `Host` differ.
    Host,
    /// A field that concerns a connection: none of its kind may be here.
    Connection,
    Te,
    ContentLength,
    /// The body is shorter than `content-length`.
    Length,
    /// It is longer than that.
    Excess,
    TooManyFields,
    /// A section of trailers that does not end the stream.
    Trailers,
    /// An interim response that ends the stream.
    Interim,
}

impl Malformed {
    /// What the peer did, as a sentence without its subject.
    pub fn reason(self) -> &'static str {
        match self {
            Malformed::Name => "sent invalid header name",
            Malformed::Value => "sent header with invalid value",
            Malformed::LatePseudo => "sent out of order pseudo-headers",
            Malformed::UnknownPseudo => "sent unknown pseudo-header",
            Malformed::DuplicatePseudo => "sent duplicate pseudo-header",
            Malformed::EmptyPseudo => "sent empty pseudo-header",
            Malformed::NoMethod => "sent no :method header",
            Malformed::NoScheme => "sent no :scheme header",
            Malformed::NoPath => "sent no :path header",
            Malformed::NoAuthority => "sent no :authority header",
            Malformed::NoStatus => "sent no :status header",
            Malformed::Status => "sent invalid :status header",
            Malformed::Protocol => "sent unexpected :protocol header",
            Malformed::Host => "sent \":authority\" and \"Host\" headers with different values",
            Malformed::Connection => "sent connection-specific header",
            Malformed::Te => "sent invalid \"TE\" header",
            Malformed::ContentLength => "sent invalid \"Content-Length\" header",
            Malformed::Length | Malformed::Excess => {
                "sent body of another length than \"Content-Length\" tells"
            }
            Malformed::TooManyFields => "sent too many header lines",
            Malformed::Trailers => "sent trailers that do not end the stream",
            Malformed::Interim => "sent interim response that ends the stream",
        }
    }
}

/// What a section is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    Request,
    Response,
    Trailers,
    /// Nobody wants it.
    #[default]
    Nothing,
}

/// A section while it is read.
#[derive(Default)]
pub struct Section {
    pub purpose: Purpose,
    pub pseudo: Pseudo,
    pub malformed: Option<Malformed>,
    pub content_length: Option<u64>,
    pub priority: Option<Priority>,
    /// Bytes that may come yet.
    pub room: u32,
    /// No field has come.
    pub is_fresh: bool,
    /// Bytes of the block that have come, as they came.
    pub length: u32,
    is_regular: bool,
    has_te: bool,
    count: u32,
    host: Option<Range>,
    crumbs: Vec<Range>,
}

impl Section {
    pub fn begin(&mut self, purpose: Purpose, config: &Config) {
        let mut crumbs = std::mem::take(&mut self.crumbs);
        crumbs.clear();
        let room = config.header_limit;
        *self = Section { purpose, room, is_fresh: true, crumbs, ..Section::default() };
    }

    /// Nobody wants the rest of it, and what came so far may be gone from the sink.
    pub fn discard(&mut self) {
        self.purpose = Purpose::Nothing;
        self.crumbs.clear();
    }

    /// Takes a field that stands at the end of the sink's bytes, or drops it there.
    pub fn field<S: Sink>(
        &mut self,
        field: Field,
        config: &Config,
        sink: &mut S,
    ) -> Result<(), Fatal> {
        self.is_fresh = false;
        if field.name.is_empty() {
            let reason = "sent zero header name length";
            return Err(Fatal::new(Code::PROTOCOL_ERROR, reason));
        }
        if field.name.len().max(field.value.len()) > config.longest_field as usize {
            return Err(TOO_LONG);
        }
        if self.purpose != Purpose::Nothing && self.malformed.is_none() {
            match self.check(field, config, sink.bytes()) {
                Ok(Some(line)) => {
                    sink.add(line);
                    return Ok(());
                }
                Ok(None) => return Ok(()),
                Err(malformed) => self.malformed = Some(malformed),
            }
        }
        sink.bytes().truncate(field.name.start as usize);
        Ok(())
    }

    fn check(
        &mut self,
        field: Field,
        config: &Config,
        bytes: &[u8],
    ) -> Result<Option<HeaderLine>, Malformed> {
        let nature = field.nature;
        if nature.has_bad_value() {
            return Err(Malformed::Value);
        }
        if nature.is_pseudo() {
            self.pseudo(nature.meaning, field.value, bytes)?;
            return Ok(None);
        }
        self.is_regular = true;
        self.count += 1;
        if self.count > config.max_fields {
            return Err(Malformed::TooManyFields);
        }
        if nature.has_bad_name() {
            return Err(Malformed::Name);
        }
        if nature.meaning != Meaning::None && !self.special(nature.meaning, field, bytes)? {
            return Ok(None);
        }
        let is_odd = nature.is_odd(config.underscores);
        Ok(Some(HeaderLine { name: field.name, value: field.value, is_odd }))
    }

    /// A field that means something here. Tells whether it goes to the sink.
    fn special(&mut self, meaning: Meaning, field: Field, bytes: &[u8]) -> Result<bool, Malformed> {
        let value = field.value.of(bytes);
        match (meaning, self.purpose) {
            (Meaning::Connection, _) => return Err(Malformed::Connection),
            (Meaning::Te, _) => {
                let is_repeated = std::mem::replace(&mut self.has_te, true);
                if is_repeated || !value.eq_ignore_ascii_case(b"trailers") {
                    return Err(Malformed::Te);
                }
            }
            (_, Purpose::Trailers) => {}
            (Meaning::Cookie, Purpose::Request) => {
                self.crumbs.push(field.value);
                return Ok(false);
            }
            (Meaning::Host, Purpose::Request) => self.host = Some(field.value),
            (Meaning::Priority, _) => self.priority = Some(Priority::parse(value)),
            (Meaning::ContentLength, _) => {
                let length = decimal(value).ok_or(Malformed::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength);
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn pseudo(&mut self, meaning: Meaning, value: Range, bytes: &[u8]) -> Result<(), Malformed> {
        if self.is_regular || self.purpose == Purpose::Trailers {
            return Err(Malformed::LatePseudo);
        }
        let pseudo = &mut self.pseudo;
        let is_response = self.purpose == Purpose::Response;
        let place = match meaning {
            Meaning::Status if is_response => return self.status(value.of(bytes)),
            _ if is_response => return Err(Malformed::UnknownPseudo),
            Meaning::Method => &mut pseudo.method,
            Meaning::Scheme => &mut pseudo.scheme,
            Meaning::Authority => &mut pseudo.authority,
            Meaning::Path => &mut pseudo.path,
            Meaning::Protocol => &mut pseudo.protocol,
            _ => return Err(Malformed::UnknownPseudo),
        };
        // What is refused is dropped from the sink: nothing may point there.
        match place {
            Some(_) => return Err(Malformed::DuplicatePseudo),
            None if value.is_empty() => return Err(Malformed::EmptyPseudo),
            None => *place = Some(value),
        }
        Ok(())
    }

    fn status(&mut self, digits: &[u8]) -> Result<(), Malformed> {
        let [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *digits else {
            return Err(Malformed::Status);
        };
        if self.pseudo.status != 0 {
            return Err(Malformed::DuplicatePseudo);
        }
        let digit = |byte: u8| u16::from(byte - b'0');
        self.pseudo.status = 100 * digit(a) + 10 * digit(b) + digit(c);
        Ok(())
    }

    /// What can be told of the whole section. Crumbs of cookies become one field.
    pub fn finish<S: Sink>(&mut self, config: &Config, is_end: bool, sink: &mut S) {
        self.join_crumbs(sink);
        if self.malformed.is_none() {
            self.malformed = match self.purpose {
                Purpose::Request => self.whole_request(config, is_end, sink.bytes()),
                Purpose::Response => self.whole_response(is_end),
                Purpose::Trailers if !is_end => Some(Malformed::Trailers),
                _ => None,
            };
        }
    }

    fn whole_request(&self, config: &Config, is_end: bool, bytes: &[u8]) -> Option<Malformed> {
        let Pseudo { method, scheme, authority, path, protocol, .. } = self.pseudo;
        let Some(method) = method else { return Some(Malformed::NoMethod) };
        let is_connect = method.of(bytes) == b"CONNECT";
        if protocol.is_some() && !(is_connect && config.extended_connect) {
            return Some(Malformed::Protocol);
        }
        if is_connect && authority.is_none() {
            return Some(Malformed::NoAuthority);
        }
        // A plain CONNECT has neither scheme nor path. One that has is as good: it is not for us
        // either way.
        if !is_connect || protocol.is_some() {
            if scheme.is_none() {
                return Some(Malformed::NoScheme);
            }
            if path.is_none() {
                return Some(Malformed::NoPath);
            }
        }
        if let (Some(authority), Some(host)) = (authority, self.host)
            && authority.of(bytes) != host.of(bytes)
        {
            return Some(Malformed::Host);
        }
        (is_end && self.content_length.is_some_and(|length| length > 0))
            .then_some(Malformed::Length)
    }

    fn whole_response(&self, is_end: bool) -> Option<Malformed> {
        match self.pseudo.status {
            0 => Some(Malformed::NoStatus),
            101 => Some(Malformed::Status),
            100..200 if is_end => Some(Malformed::Interim),
            _ => None,
        }
    }

    /// RFC 9113, section 8.2.3.
    fn join_crumbs<S: Sink>(&mut self, sink: &mut S) {
        let Some(first) = self.crumbs.first() else { return };
        let bytes = sink.bytes();
        let start = bytes.len();
        bytes.extend_from_slice(b"cookie");
        let name = Range::new(start, bytes.len());
        let value = match self.crumbs.len() {
            1 => *first,
            _ => {
                for (place, crumb) in self.crumbs.iter().enumerate() {
                    if place > 0 {
                        bytes.extend_from_slice(b"; ");
                    }
                    bytes.extend_from_within(crumb.start as usize..crumb.end as usize);
                }
                Range::new(name.end as usize, bytes.len())
            }
        };
        sink.add(HeaderLine { name, value, is_odd: false });
    }

    pub fn allocated(&self) -> usize {
        self.crumbs.capacity() * size_of::<Range>()
    }
}

/// A section that is larger than it may be: its bytes are not decoded any more, which ends the
/// connection.
pub const TOO_LARGE: Fatal = Fatal {
    code: Code::ENHANCE_YOUR_CALM,
    reason: "sent too large header",
    cost: Some(Cost::Fields),
};

/// The same of one field.
const TOO_LONG: Fatal = Fatal {
    code: Code::ENHANCE_YOUR_CALM,
    reason: "sent too large header field",
    cost: Some(Cost::Fields),
};
