//! DNS messages (RFC 1035, 2782, 3596) as a stub resolver needs them: one question, and the answers to it.
//!
//! Names that are longer than RFC 1035 allows are read all the same, as nginx does. What is wrong with a message is told
//! in nginx's words.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    A = 1,
    Aaaa = 28,
    Srv = 33,
}

const CNAME: u16 = 5;
const DNAME: u16 = 39;
const CLASS_IN: u16 = 1;

const HEADER: usize = 12;
/// Type and class.
const QUESTION_TAIL: usize = 4;
/// Type, class, time to live and length.
const RECORD_HEAD: usize = 10;

const RECURSION_DESIRED: u16 = 0x0100;
const TRUNCATED: u16 = 0x0200;
/// RCODE of a name server that did not understand.
pub const FORMAT_ERROR: u8 = 1;
/// RCODE of a name that does not exist.
pub const NAME_ERROR: u8 = 3;
/// RCODE of a name server that does not want to answer: the last one with a meaning here.
pub const REFUSED: u8 = 5;

/// RCODE in nginx's words.
pub fn words_of(code: u8) -> &'static str {
    match code {
        1 => "Format error",
        2 => "Server failure",
        3 => "Host not found",
        4 => "Unimplemented",
        5 => "Operation refused",
        _ => "Unknown error",
    }
}

/// A query for a name without its last dot; `None` where DNS cannot have such a name.
pub fn query(id: u16, name: &[u8], kind: Kind) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 2 + QUESTION_TAIL);
    for field in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    for label in name.split(|byte| *byte == b'.') {
        if !(1..=63).contains(&label.len()) {
            return None;
        }
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend_from_slice(&(kind as u16).to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(message)
}

/// A response with its question; what it answers is read once it is known to be wanted.
#[derive(Debug)]
pub struct Response<'m> {
    message: &'m [u8],
    pub id: u16,
    /// RCODE; [`FORMAT_ERROR`] and those above 5 are a [`Flaw`].
    pub code: u8,
    pub is_truncated: bool,
    /// The name that was asked for: lower case, without its last dot.
    pub name: Vec<u8>,
    /// The type that was asked for.
    pub kind: u16,
    /// Where the answers begin.
    start: usize,
    count: usize,
}

/// What a response tells about a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    pub services: Vec<Service>,
    /// The name that this one stands for (CNAME), where that is all there is.
    pub alias: Option<Vec<u8>>,
    /// Seconds, the least of all records.
    pub ttl: u32,
    /// Types of records that mean nothing here.
    pub unexpected: Vec<u16>,
}

/// A record SRV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub priority: u16,
    /// Above 0.
    pub weight: u16,
    pub port: u16,
    pub target: Vec<u8>,
}

/// Why a message is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Text(&'static str),
    /// It is no response to a query.
    Flags {
        id: u16,
        flags: u16,
        over_tcp: bool,
    },
    /// The name server did not understand; it may not have returned the question.
    Refusal {
        id: u16,
        code: u8,
    },
    QuestionClass(u16),
    RecordClass(u16),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Flaw::Text(text) => f.write_str(text),
            Flaw::Flags { id, flags, over_tcp } => {
                let transport = if over_tcp { "TCP" } else { "UDP" };
                write!(f, "invalid {transport} DNS response {id} fl:{flags:04X}")
            }
            Flaw::Refusal { id, code } => {
                write!(f, "DNS error ({code}: {}), query id:{id}", words_of(code))
            }
            Flaw::QuestionClass(class) => write!(f, "unknown query class {class} in DNS response"),
            Flaw::RecordClass(class) => write!(f, "unexpected RR class {class} in DNS response"),
        }
    }
}

const SHORT: Flaw = Flaw::Text("short DNS response");

/// Reads a response's header and question.
pub fn parse(message: &[u8], over_tcp: bool) -> Result<Response<'_>, Flaw> {
    if message.len() < HEADER {
        return Err(SHORT);
    }
    let field = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let (id, flags, questions, count) = (field(0), field(2), field(4), usize::from(field(6)));
    let is_truncated = flags & TRUNCATED != 0;
    // A response to a standard query; the bits below RA are zero.
    if flags & 0xf870 != 0x8000 || (is_truncated && over_tcp) {
        return Err(Flaw::Flags { id, flags, over_tcp });
    }
    let code = (flags & 0xf) as u8;
    if code == FORMAT_ERROR || code > REFUSED {
        return Err(Flaw::Refusal { id, code });
    }
    if questions != 1 {
        return Err(Flaw::Text("invalid number of questions in DNS response"));
    }
    let end = question_end(message)?;
    if end + QUESTION_TAIL + count * (2 + RECORD_HEAD) > message.len() {
        return Err(SHORT);
    }
    let (kind, class) = (field(end), field(end + 2));
    if class != CLASS_IN {
        return Err(Flaw::QuestionClass(class));
    }
    let name = read_name(message, HEADER)?;
    let start = end + QUESTION_TAIL;
    Ok(Response { message, id, code, is_truncated, name, kind, start, count })
}

/// Where the question's name ends. It is the first name, so there is nothing that it could point to.
fn question_end(message: &[u8]) -> Result<usize, Flaw> {
    let mut at = HEADER;
    loop {
        match *message.get(at).ok_or(SHORT)? {
            0 if at == HEADER => {
                return Err(Flaw::Text("zero-length domain name in DNS response"));
            }
            0 => return Ok(at + 1),
            length if length & 0xc0 != 0 => {
                return Err(Flaw::Text("unexpected compression pointer in DNS response"));
            }
            length => at += 1 + usize::from(length),
        }
    }
}

impl Response<'_> {
    /// Whether it has answers at all.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn answers(&self) -> Result<Answers, Flaw> {
        let mut answers = Answers { ttl: u32::MAX, ..Answers::default() };
        let mut alias = None;
        let mut at = self.start;
        for _ in 0..self.count {
            at = skip_name(self.message, at)?;
            let record = self.record(at)?;
            answers.ttl = answers.ttl.min(record.ttl);
            match record.kind {
                CNAME => alias = Some(record.data),
                DNAME => {}
                kind => self.take(kind, &record, &mut answers)?,
            }
            at = record.data + record.length;
        }
        if let Some(alias) = alias.filter(|_| answers.has_no_record()) {
            answers.alias = Some(read_name(self.message, alias)?);
        }
        answers.services.sort_by_key(|service| service.priority);
        Ok(answers)
    }

    fn record(&self, at: usize) -> Result<Record, Flaw> {
        let data = at + RECORD_HEAD;
        if data >= self.message.len() {
            return Err(SHORT);
        }
        let field = |at: usize| u16::from_be_bytes([self.message[at], self.message[at + 1]]);
        let class = field(at + 2);
        if class != CLASS_IN {
            return Err(Flaw::RecordClass(class));
        }
        let ttl = u32::from(field(at + 4)) << 16 | u32::from(field(at + 6));
        Ok(Record {
            kind: field(at),
            // RFC 2181: one that looks negative counts as 0
            ttl: if ttl > i32::MAX as u32 { 0 } else { ttl },
            length: usize::from(field(at + 8)),
            data,
        })
    }

    fn take(&self, kind: u16, record: &Record, answers: &mut Answers) -> Result<(), Flaw> {
        let wanted = kind == self.kind;
        match kind {
            _ if kind == Kind::A as u16 && self.kind != Kind::Srv as u16 => {
                if !wanted {
                    return Err(Flaw::Text("unexpected A record in DNS response"));
                }
                let bytes = self.data::<4>(record, "invalid A record in DNS response")?;
                answers.v4.push(bytes.into());
            }
            _ if kind == Kind::Aaaa as u16 && self.kind != Kind::Srv as u16 => {
                if !wanted {
                    return Err(Flaw::Text("unexpected AAAA record in DNS response"));
                }
                let bytes = self.data::<16>(record, "invalid AAAA record in DNS response")?;
                answers.v6.push(bytes.into());
            }
            _ if kind == Kind::Srv as u16 && wanted => answers.services.push(self.service(record)?),
            _ => answers.unexpected.push(kind),
        }
        Ok(())
    }

    fn data<const LENGTH: usize>(
        &self,
        record: &Record,
        invalid: &'static str,
    ) -> Result<[u8; LENGTH], Flaw> {
        if record.length != LENGTH {
            return Err(Flaw::Text(invalid));
        }
        let data = self.message.get(record.data..record.data + LENGTH).ok_or(SHORT)?;
        Ok(data.try_into().expect("a slice of that length"))
    }

    fn service(&self, record: &Record) -> Result<Service, Flaw> {
        let target = record.data + 6;
        if target >= self.message.len() {
            return Err(SHORT);
        }
        let field = |at: usize| u16::from_be_bytes([self.message[at], self.message[at + 1]]);
        Ok(Service {
            priority: field(record.data),
            weight: field(record.data + 2).max(1),
            port: field(record.data + 4),
            target: read_name(self.message, target)?,
        })
    }
}

struct Record {
    kind: u16,
    ttl: u32,
    length: usize,
    /// Where its data begins.
    data: usize,
}

impl Answers {
    fn has_no_record(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && self.services.is_empty()
    }
}

/// Where a record's name ends.
fn skip_name(message: &[u8], start: usize) -> Result<usize, Flaw> {
    let mut at = start;
    loop {
        match *message.get(at).ok_or(SHORT)? {
            0 if at == start => return Err(Flaw::Text("invalid name in DNS response")),
            0 => return Ok(at + 1),
            length if length & 0xc0 != 0 => return Ok(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// A name in lower case, without its last dot; the root is empty.
fn read_name(message: &[u8], start: usize) -> Result<Vec<u8>, Flaw> {
    const OUTSIDE: Flaw = Flaw::Text("name is out of DNS response");
    let mut name = Vec::new();
    let mut at = start;
    // Pointers may lead in a circle; 128 steps are enough for a name of 255 bytes.
    for _ in 0..128 {
        let length = *message.get(at).ok_or(OUTSIDE)?;
        at += 1;
        match length {
            0 => return Ok(name),
            _ if length & 0xc0 == 0xc0 => {
                let low = *message.get(at).ok_or(OUTSIDE)?;
                at = usize::from(length & 0x3f) << 8 | usize::from(low);
            }
            _ if length & 0xc0 != 0 => {
                return Err(Flaw::Text("invalid label type in DNS response"));
            }
            _ => {
                let label = message.get(at..at + usize::from(length)).ok_or(OUTSIDE)?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend(label.iter().map(u8::to_ascii_lowercase));
                at += usize::from(length);
            }
        }
    }
    Err(Flaw::Text("compression pointers loop in DNS response"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response to the query for `name`, with records as they stand in the message.
    fn response(name: &[u8], kind: Kind, flags: u16, records: &[&[u8]]) -> Vec<u8> {
        let mut message = query(7, name, kind).unwrap();
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[7] = records.len() as u8;
        message.extend(records.concat());
        message
    }

    fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let head = [0xc00c, kind, 1, (ttl >> 16) as u16, ttl as u16, data.len() as u16];
        let mut record: Vec<u8> = head.iter().flat_map(|field| field.to_be_bytes()).collect();
        record.extend_from_slice(data);
        record
    }

    fn answers(message: &[u8]) -> Result<Answers, String> {
        let read = parse(message, false).and_then(|response| response.answers());
        read.map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn addresses_come_with_the_least_time_to_live() {
        let one = record(1, 300, &[192, 0, 2, 1]);
        let two = record(1, 60, &[192, 0, 2, 2]);
        let message = response(b"a.example.net", Kind::A, 0x8180, &[&one, &two]);
        let parsed = parse(&message, false).unwrap();
        assert_eq!((parsed.id, &*parsed.name, parsed.code), (7, &b"a.example.net"[..], 0));

        let answers = parsed.answers().unwrap();
        assert_eq!(answers.v4, ["192.0.2.1".parse::<Ipv4Addr>().unwrap(), [192, 0, 2, 2].into()]);
        assert_eq!((answers.ttl, answers.alias), (60, None));
    }

    #[test]
    fn an_alias_counts_where_it_is_all_there_is() {
        // www, and a pointer to "example.net" in the question
        let alias = record(CNAME, 5, b"\x03WWW\xc0\x0e");
        let alone = response(b"a.example.net", Kind::Aaaa, 0x8180, &[&alias]);
        assert_eq!(answers(&alone).unwrap().alias.as_deref(), Some(&b"www.example.net"[..]));

        let address = record(28, 5, &Ipv6Addr::LOCALHOST.octets());
        let both = response(b"a.example.net", Kind::Aaaa, 0x8180, &[&alias, &address]);
        let both = answers(&both).unwrap();
        assert_eq!((both.alias, both.v6), (None, vec![Ipv6Addr::LOCALHOST]));
    }

    #[test]
    fn services_stand_in_the_order_of_their_priority() {
        let second = record(33, 9, b"\0\x02\0\x05\x1f\x90\x01b\xc0\x0c");
        let first = record(33, 9, b"\0\x01\0\0\0\x50\x01a\xc0\x0c");
        let found = answers(&response(b"net", Kind::Srv, 0x8180, &[&second, &first])).unwrap();
        let told: Vec<_> = found
            .services
            .iter()
            .map(|service| (service.priority, service.weight, service.port, &*service.target))
            .collect();
        assert_eq!(told, [(1, 1, 80, &b"a.net"[..]), (2, 5, 8080, b"b.net")]);
    }

    #[test]
    fn names_that_dns_cannot_have_are_not_asked_for() {
        assert!(query(1, b"a.b", Kind::A).is_some());
        assert!(query(1, &[b'a'; 63], Kind::A).is_some());
        for name in [&b""[..], b"a..b", b".a", &[b'a'; 64]] {
            assert!(query(1, name, Kind::A).is_none(), "{name:?}");
        }
    }

    #[test]
    fn flaws_are_told_in_nginx_words() {
        let address = record(1, 3, &[127, 0, 0, 1]);
        let told = |flags, kind, records: &[&[u8]]| {
            answers(&response(b"a.b", kind, flags, records)).unwrap_err()
        };
        assert_eq!(told(0x0180, Kind::A, &[]), "invalid UDP DNS response 7 fl:0180");
        assert_eq!(told(0x8181, Kind::A, &[]), "DNS error (1: Format error), query id:7");
        assert_eq!(told(0x8186, Kind::A, &[]), "DNS error (6: Unknown error), query id:7");
        assert_eq!(told(0x8180, Kind::Aaaa, &[&address]), "unexpected A record in DNS response");
        let long = record(1, 3, b"longer");
        assert_eq!(told(0x8180, Kind::A, &[&long]), "invalid A record in DNS response");
        assert_eq!(told(0x8180, Kind::A, &[&address[..12]]), "short DNS response");
        let circle = record(CNAME, 3, b"\x01a\xc0\x21");
        assert_eq!(told(0x8180, Kind::A, &[&circle]), "compression pointers loop in DNS response");
        assert_eq!(answers(b"short").unwrap_err(), "short DNS response");
    }

    #[test]
    fn what_was_truncated_is_refused_only_over_tcp() {
        let message = response(b"a.b", Kind::A, 0x8380, &[]);
        assert!(parse(&message, false).unwrap().is_truncated);
        assert!(parse(&message, true).is_err());
    }
}
