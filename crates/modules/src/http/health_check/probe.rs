//! One check of one peer: a connection, and over HTTP a request and its response.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use daemun_core::listen::Address;
use daemun_event::{Deadline, Millis, Stream};
use daemun_http::upstream::tls::handshake_alone;
use daemun_proto::http1::chunked::{Chunk, Decoder};
use daemun_proto::http1::{Parsed, parse_response_header_line, parse_status_line};
use daemun_tls::{Session, Transport};
use daemun_upstream::Checked;

use super::http2;
use super::watch::Check;

/// What a peer answered.
#[derive(Default)]
pub struct Response {
    pub status: u16,
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first 256 KB.
    pub body: Vec<u8>,
}

/// A connection for the next check.
pub struct Kept {
    stream: Stream,
    session: Option<Box<Session>>,
    since: Millis,
}

impl Kept {
    pub(super) fn transport(&mut self) -> Transport<'_> {
        Transport::new(&self.stream, self.session.as_deref_mut())
    }
}

/// What was being done when it went wrong, and what the system said.
pub struct Failure {
    pub doing: &'static str,
    pub error: Option<io::Error>,
}

/// The most of a body that is looked at, and of a head that is read.
pub(super) const MOST_BODY: usize = 256 << 10;
const MOST_HEAD: usize = 64 << 10;

/// How a body ends.
enum Framing {
    Length(usize),
    Chunks(Decoder),
    Close,
}

impl Response {
    /// The first field of that name.
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_slice())
    }
}

/// Asks a peer. Without `type=tcp` there is a response.
pub async fn probe(
    check: &Check,
    peer: &Checked,
    kept: Option<Kept>,
) -> Result<(Option<Response>, Option<Kept>), Failure> {
    let deadline = Deadline::after(check.connect_timeout);
    let kept = kept.filter(|kept| !kept.stream.peer_closed());
    let mut stream = match kept {
        Some(kept) => kept,
        None => {
            let stream = connect(check, &peer.address, deadline).await;
            let stream = stream.map_err(|error| failure("connecting to upstream", error))?;
            let session = handshake(check, peer, &stream, deadline).await;
            let session = session.map_err(|error| failure("SSL handshaking to upstream", error))?;
            Kept { stream, session, since: daemun_event::now() }
        }
    };
    if check.spec.is_tcp() {
        return Ok((None, None));
    }
    if check.is_http2 {
        return http2::ask(check, &mut stream).await.map(|response| (Some(response), None));
    }
    let keeps = check.spec.keepalive_time.is_some_and(|time| {
        u128::from(daemun_event::now().saturating_sub(stream.since)) < time.as_millis()
    });
    let request = request(check, keeps);
    let sent = stream.transport().send_all(&request, check.read_timeout).await;
    sent.map_err(|error| failure("sending request to upstream", error))?;
    let (response, may_keep) = receive(check, &mut stream).await?;
    Ok((Some(response), (keeps && may_keep).then_some(stream)))
}

async fn connect(check: &Check, address: &Address, deadline: Deadline) -> io::Result<Stream> {
    match address {
        Address::Ip(address) => {
            let port = check.spec.port.unwrap_or(address.port());
            Stream::connect(SocketAddr::new(address.ip(), port), deadline).await
        }
        Address::Unix(path) => Stream::connect_unix(path),
    }
}

/// What protects the connection, where requests to the group are protected as well.
async fn handshake(
    check: &Check,
    peer: &Checked,
    stream: &Stream,
    deadline: Deadline,
) -> io::Result<Option<Box<Session>>> {
    let Some(settings) = check.tls.filter(|_| !check.spec.is_tcp()) else { return Ok(None) };
    let name: Arc<str> = peer.address.to_string().into();
    let made = handshake_alone(settings, stream, &check.group.name, &name, deadline).await;
    made.map(Some)
}

fn request(check: &Check, keeps: bool) -> Vec<u8> {
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(&check.spec.uri);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    request.extend_from_slice(check.group.name.as_bytes());
    if !keeps {
        request.extend_from_slice(b"\r\nConnection: close");
    }
    request.extend_from_slice(b"\r\n\r\n");
    request
}

/// The response, and whether the connection can serve another request.
async fn receive(check: &Check, stream: &mut Kept) -> Result<(Response, bool), Failure> {
    const HEAD: &str = "reading response header from upstream";
    const BODY: &str = "reading response body from upstream";
    let mut input = Vec::new();
    let (mut response, framing, start) = loop {
        if let Some(head) = parse(&input).ok_or(Failure { doing: HEAD, error: None })? {
            break head;
        }
        let received = more(check, stream, &mut input).await;
        match received.map_err(|error| failure(HEAD, error))? {
            0 => return Err(Failure { doing: HEAD, error: None }),
            _ if input.len() > MOST_HEAD => return Err(Failure { doing: HEAD, error: None }),
            _ => {}
        }
    };
    input.drain(..start);
    let closes =
        response.field(b"Connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let mut framing = framing;
    let is_whole = loop {
        if take(&mut framing, &mut input, &mut response.body)
            .ok_or(Failure { doing: BODY, error: None })?
        {
            break true;
        }
        if response.body.len() >= MOST_BODY {
            break false;
        }
        match more(check, stream, &mut input).await.map_err(|error| failure(BODY, error))? {
            0 if matches!(framing, Framing::Close) => break false,
            0 => return Err(Failure { doing: BODY, error: None }),
            _ => {}
        }
    };
    response.body.truncate(MOST_BODY);
    Ok((response, is_whole && !closes))
}

pub(super) async fn more(check: &Check, kept: &mut Kept, input: &mut Vec<u8>) -> io::Result<usize> {
    let start = input.len();
    input.resize(start + 16384, 0);
    let deadline = Deadline::after(check.read_timeout);
    let received = loop {
        match kept.transport().try_recv(&mut input[start..]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            received => break received,
        }
        if let Err(error) = kept.stream.readable(deadline).await {
            break Err(error);
        }
    };
    input.truncate(start + received.as_ref().copied().unwrap_or(0));
    received
}

/// The head, once all of it is there, how the body ends and where it begins; `None`: it is no response.
#[allow(clippy::type_complexity)]
fn parse(input: &[u8]) -> Option<Option<(Response, Framing, usize)>> {
    let Parsed::Done(line, mut at) = parse_status_line(input, 0).ok()? else {
        return Some(None);
    };
    let mut response = Response { status: line.code, ..Response::default() };
    loop {
        use daemun_proto::http1::header::Line;
        match parse_response_header_line(input, at).ok()? {
            Parsed::Incomplete => return Some(None),
            Parsed::Done(Line::Header(field), next) => {
                let (name, value) = (field.name.of(input), field.value.of(input));
                response.fields.push((name.to_vec(), value.to_vec()));
                at = next;
            }
            Parsed::Done(Line::End, next) => {
                let framing = framing_of(&response)?;
                return Some(Some((response, framing, next)));
            }
        }
    }
}

fn framing_of(response: &Response) -> Option<Framing> {
    if matches!(response.status, 100..=199 | 204 | 304) {
        return Some(Framing::Length(0));
    }
    if response.field(b"Transfer-Encoding").is_some() {
        return Some(Framing::Chunks(Decoder::default()));
    }
    match response.field(b"Content-Length") {
        Some(length) => {
            let length = std::str::from_utf8(length).ok()?.trim().parse().ok()?;
            Some(Framing::Length(length))
        }
        None => Some(Framing::Close),
    }
}

/// Takes what is there of the body; `true` once that is all, `None` where it is framed wrongly.
fn take(framing: &mut Framing, input: &mut Vec<u8>, body: &mut Vec<u8>) -> Option<bool> {
    match framing {
        Framing::Close => {
            body.append(input);
            Some(false)
        }
        Framing::Length(left) => {
            let taken = input.len().min(*left);
            body.extend(input.drain(..taken));
            *left -= taken;
            Some(*left == 0)
        }
        Framing::Chunks(decoder) => {
            let mut at = 0;
            let is_whole = loop {
                match decoder.next(input, &mut at).ok()? {
                    Chunk::Data(length) => body.extend_from_slice(&input[at - length..at]),
                    Chunk::End => break true,
                    Chunk::Incomplete => break false,
                }
            };
            input.drain(..at);
            Some(is_whole)
        }
    }
}

pub(super) fn failure(doing: &'static str, error: io::Error) -> Failure {
    Failure { doing, error: Some(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Option<(u16, Vec<u8>, bool)> {
        let (mut response, mut framing, start) = parse(text)??;
        let mut rest = text[start..].to_vec();
        let is_whole = take(&mut framing, &mut rest, &mut response.body)?;
        Some((response.status, response.body, is_whole))
    }

    #[test]
    fn bodies_end_as_their_heads_say() {
        let whole = |body: &[u8]| Some((200, body.to_vec(), true));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), whole(b"ab"));
        assert_eq!(
            read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
            whole(b"abc")
        );
        let open = Some((200, b"ab".to_vec(), false));
        assert_eq!(read(b"HTTP/1.0 200 OK\r\n\r\nab"), open);
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), open);
        assert_eq!(read(b"HTTP/1.1 204 No\r\n\r\n"), Some((204, Vec::new(), true)));
        assert!(parse(b"220 smtp.example ESMTP\r\n").is_none());
        assert!(matches!(parse(b"HTTP/1.1 200 OK\r\nA: b\r\n"), Some(None)));
    }
}
