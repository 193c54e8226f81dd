//! What a relay's next owner has to know of the request, as plain bytes that another configuration can read.
//!
//! The line in the access log is written by whoever has the relay at its end, in the format of that configuration. So its
//! variables travel: the values of all that the configuration names, except those that go on to change. What they are
//! computed from goes along, too, for the formats that name others.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use daemun_core::listen::Address;
use daemun_event::Peer;

use super::{Limits, Place};
use crate::h1;
use crate::request::Request;
use crate::request_body::RequestBody;
use crate::status::Status;
use crate::upstream::record::{Record, Try};
use crate::whereabouts;

/// The numbers of a relay that are not the request's.
pub struct Course {
    pub limits: Limits,
    /// Until the upstream has been silent for too long.
    pub rest: Duration,
    /// Bytes sent to the upstream.
    pub sent: u64,
    /// Whose connections the upstream's is counted among.
    pub peer: Option<(String, Address)>,
}

/// All that there is to know.
pub fn write(request: &mut Request, course: &Course) -> Vec<u8> {
    let mut out = Writer::default();
    write_course(course, &mut out);
    write_request(request, &mut out);
    write_record(request, &mut out);
    write_variables(request, &mut out);
    out.0
}

/// Makes of a fresh request the one that the facts are about; `None` where they make no sense.
pub fn read(facts: &[u8], request: &mut Request) -> Option<Course> {
    let mut facts = Reader(facts);
    let course = read_course(&mut facts)?;
    read_request(&mut facts, request)?;
    read_record(&mut facts, request)?;
    read_variables(&mut facts, request)?;
    facts.0.is_empty().then_some(course)
}

impl Place {
    fn told(&self) -> Option<(String, Address)> {
        let (group, peer) = self.peer()?;
        Some((group.to_owned(), peer.address.clone()))
    }
}

impl Course {
    pub fn of(relay: &super::Relay) -> Course {
        Course {
            limits: relay.limits,
            rest: relay.silence.remaining(),
            sent: relay.upstream.sent,
            peer: relay.place.told(),
        }
    }
}

fn write_course(course: &Course, out: &mut Writer) {
    let Limits { buffer_size, read_timeout, send_timeout } = course.limits;
    out.number(buffer_size as u64);
    out.span(read_timeout);
    out.span(send_timeout);
    out.span(course.rest);
    out.number(course.sent);
    out.number(u64::from(course.peer.is_some()));
    if let Some((group, address)) = &course.peer {
        out.text(group.as_bytes());
        out.text(address.to_string().as_bytes());
    }
}

fn read_course(facts: &mut Reader<'_>) -> Option<Course> {
    let limits = Limits {
        buffer_size: usize::try_from(facts.number()?).ok()?,
        read_timeout: facts.span()?,
        send_timeout: facts.span()?,
    };
    let (rest, sent) = (facts.span()?, facts.number()?);
    let peer = match facts.number()? {
        0 => None,
        _ => {
            let group = facts.string()?;
            Some((group, facts.string()?.parse().ok()?))
        }
    };
    Some(Course { limits, rest, sent, peer })
}

fn write_request(request: &mut Request, out: &mut Writer) {
    out.text(&request.head.bytes[..request.head_end]);
    out.text(&request.uri);
    out.text(&request.args);
    let path = whereabouts::tell(request.server, request.location).unwrap_or_default();
    out.number(path.len() as u64);
    path.iter().for_each(|header| out.text(header));
    let began = request.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.span(began);
    out.span(Duration::from_millis(daemun_event::now().saturating_sub(request.started)));
    for number in [
        u64::from(request.logged_status().0),
        u64::from(request.response.status.0),
        request.sent,
        request.sent_head,
    ] {
        out.number(number);
    }
    let real = request.real_peer.and_then(|peer| peer.ip().zip(peer.port()));
    out.text(real.map(|real| SocketAddr::from(real).to_string()).unwrap_or_default().as_bytes());
}

fn read_request(facts: &mut Reader<'_>, request: &mut Request) -> Option<()> {
    request.head.bytes.extend_from_slice(facts.text()?);
    // This configuration may want something else of a head: what has been read of it stands.
    let _ = h1::parse_head(request);
    request.head_end = request.head.bytes.len();
    request.consumed = request.head_end;
    request.body = RequestBody::default();
    request.keepalive = false;
    request.has_clients_uri = false;
    request.uri.clear();
    request.uri.extend_from_slice(facts.text()?);
    request.args.clear();
    request.args.extend_from_slice(facts.text()?);
    let path: Option<Vec<_>> =
        (0..facts.number()?).map(|_| facts.text().map(<[u8]>::to_vec)).collect();
    request.location = whereabouts::find(request.server, &path?);
    let began = facts.span()?;
    request.started_at = SystemTime::UNIX_EPOCH + began;
    // On the way time has passed, too.
    let on_the_way = daemun_event::wall_clock().duration_since(request.started_at);
    let age = facts.span()?.max(on_the_way.unwrap_or_default());
    request.started = daemun_event::now().saturating_sub(age.as_millis() as u64);
    let logged = u16::try_from(facts.number()?).ok()?;
    request.response.status = Status(u16::try_from(facts.number()?).ok()?);
    request.error_status = if request.response.status.0 == logged { 0 } else { logged };
    request.sent = facts.number()?;
    request.sent_head = facts.number()?;
    request.real_peer = match facts.string()?.as_str() {
        "" => None,
        real => Some(Peer::from(real.parse::<SocketAddr>().ok()?)),
    };
    Some(())
}

fn write_record(request: &mut Request, out: &mut Writer) {
    let record = request.upstream_record();
    out.text(record.scheme.as_bytes());
    out.text(&record.uri);
    out.number(record.tries.len() as u64);
    record.tries.iter().for_each(|one| write_try(one, out));
}

fn read_record(facts: &mut Reader<'_>, request: &mut Request) -> Option<()> {
    let record = request.upstream.get_or_insert_with(Record::fresh);
    record.scheme = SCHEMES.iter().find(|scheme| Some(scheme.as_bytes()) == facts.peek())?;
    facts.text()?;
    record.uri = facts.text()?.to_vec();
    for _ in 0..facts.number()? {
        record.tries.push(read_try(facts)?);
    }
    Some(())
}

/// Of the protocols whose connections can be upgraded.
const SCHEMES: [&str; 3] = ["", "http://", "https://"];

fn write_try(one: &Try, out: &mut Writer) {
    out.text(one.peer.as_deref().unwrap_or_default().as_bytes());
    out.number(u64::from(one.is_unix));
    out.number(u64::from(one.status));
    out.number(one.age());
    for time in [one.connect_time, one.header_time, one.response_time] {
        out.number(time.map_or(NONE, |time| time));
    }
    for count in [one.bytes_sent, one.bytes_received, one.response_length] {
        out.number(count);
    }
}

fn read_try(facts: &mut Reader<'_>) -> Option<Try> {
    let peer = Some(facts.string()?).filter(|name| !name.is_empty()).map(Into::into);
    Some(Try {
        peer,
        is_unix: facts.number()? != 0,
        status: u16::try_from(facts.number()?).ok()?,
        started: daemun_event::now().saturating_sub(facts.number()?),
        connect_time: facts.option()?,
        header_time: facts.option()?,
        response_time: facts.option()?,
        bytes_sent: facts.number()?,
        bytes_received: facts.number()?,
        response_length: facts.number()?,
    })
}

fn write_variables(request: &mut Request, out: &mut Writer) {
    let config = request.config;
    for (id, name) in config.variables.lasting(request) {
        let mut value = Vec::new();
        let is_known = crate::variables::evaluate(request, id, &mut value);
        out.text(name.as_bytes());
        out.number(u64::from(is_known));
        out.text(&value);
    }
}

fn read_variables(facts: &mut Reader<'_>, request: &mut Request) -> Option<()> {
    while !facts.0.is_empty() {
        let (name, is_known, value) = (facts.string()?, facts.number()? != 0, facts.text()?);
        if let Some(id) = request.config.variables.id_of(&name) {
            request.store(id, is_known.then(|| Bytes::copy_from_slice(value)));
        }
    }
    Some(())
}

/// A number that is not there.
const NONE: u64 = u64::MAX;

/// Numbers are of eight bytes, little-endian; texts have their length before them.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend(text);
    }
}

/// What is left to read.
struct Reader<'f>(&'f [u8]);

impl<'f> Reader<'f> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn option(&mut self) -> Option<Option<u64>> {
        self.number().map(|number| Some(number).filter(|number| *number != NONE))
    }

    fn span(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn text(&mut self) -> Option<&'f [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// The text that comes next, which stays to be read.
    fn peek(&self) -> Option<&'f [u8]> {
        Reader(self.0).text()
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?.to_vec()).ok()
    }
}
