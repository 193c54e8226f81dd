//! A check over HTTP/2: of servers that are spoken to so, and of gRPC's own health service.

use std::sync::Arc;

use daemun_proto::http2::hpack::encode;
use daemun_proto::http2::{Config, Connection, Event, Head, Part};

use super::probe::{Failure, Kept, MOST_BODY, Response, failure, more};
use super::watch::Check;
use super::{Kind, Wanted};

const HEAD: &str = "reading response header from upstream";
const BODY: &str = "reading response body from upstream";

/// The method of gRPC that servers tell their health by.
const CHECK: &[u8] = b"/grpc.health.v1.Health/Check";

/// What a service says that is well: the field `status` is `SERVING`.
const SERVING: &[u8] = &[0x08, 1];

/// Asks on a connection of its own, which is not used again.
pub async fn ask(check: &Check, stream: &mut Kept) -> Result<Response, Failure> {
    let mut out = Vec::new();
    let mut machine = Connection::client(Arc::new(Config::client()), &mut out);
    write(check, &mut machine, &mut out);
    let (mut response, mut head) = (Response::default(), Head::default());
    let mut input = Vec::new();
    loop {
        let sent = stream.transport().send_all(&out, check.read_timeout).await;
        sent.map_err(|error| failure("sending request to upstream", error))?;
        out.clear();
        let doing = if response.status == 0 { HEAD } else { BODY };
        let received = more(check, stream, &mut input).await;
        if received.map_err(|error| failure(doing, error))? == 0 {
            return Err(Failure { doing, error: None });
        }
        let mut at = 0;
        loop {
            let event = machine.receive(&input, &mut at, &mut head, &mut out);
            match event.map_err(|_| Failure { doing, error: None })? {
                Event::Incomplete => break,
                Event::Message(message) if message.malformed.is_none() => {
                    take_fields(&mut head, &mut response);
                    // An interim response says nothing of health.
                    if message.pseudo.status >= 200 {
                        response.status = message.pseudo.status;
                    }
                    if message.is_end {
                        return Ok(response);
                    }
                }
                Event::Data { stream, length, is_end } => {
                    response.body.extend_from_slice(&input[at - length..at]);
                    machine.consume(stream, length, &mut out);
                    if is_end || response.body.len() >= MOST_BODY {
                        response.body.truncate(MOST_BODY);
                        return Ok(response);
                    }
                }
                Event::Trailers { .. } => {
                    take_fields(&mut head, &mut response);
                    return Ok(response);
                }
                Event::Message(_) | Event::Malformed { .. } | Event::Reset { .. } => {
                    return Err(Failure { doing, error: None });
                }
                _ => {}
            }
        }
        input.drain(..at);
    }
}

fn take_fields(head: &mut Head, response: &mut Response) {
    let fields = head.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
    response.fields.extend(fields);
    head.clear();
}

fn write(check: &Check, machine: &mut Connection, out: &mut Vec<u8>) {
    let Some(stream) = machine.open_stream(false) else { return };
    let start = machine.begin_block(out);
    let (method, path): (&[u8], &[u8]) = match &check.spec.kind {
        Kind::Grpc(_) => (b"POST", CHECK),
        Kind::Http | Kind::Tcp => (b"GET", &check.spec.uri),
    };
    let scheme: &[u8] = if check.tls.is_some() { b"https" } else { b"http" };
    encode::pseudo(b":method", method, out);
    encode::pseudo(b":scheme", scheme, out);
    encode::pseudo(b":path", path, out);
    encode::pseudo(b":authority", check.group.name.as_bytes(), out);
    let Kind::Grpc(wanted) = &check.spec.kind else {
        return machine.finish_block(stream, start, Part::End, out);
    };
    encode::field(b"content-type", b"application/grpc", out);
    encode::field(b"te", b"trailers", out);
    machine.finish_block(stream, start, Part::Head, out);
    machine.send_data(stream, &message(&wanted.service), true, out);
}

/// A message of gRPC with the request of a check: a string, the name of the service.
fn message(service: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    if !service.is_empty() {
        // The field's number and kind, and the length as a number of one or two bytes.
        request.push(0x0a);
        let length = service.len();
        if length >= 0x80 {
            request.push(0x80 | (length & 0x7f) as u8);
        }
        request.push(if length < 0x80 { length } else { length >> 7 } as u8);
        request.extend_from_slice(service);
    }
    let mut message = vec![0];
    message.extend_from_slice(&(request.len() as u32).to_be_bytes());
    message.extend_from_slice(&request);
    message
}

/// What is wrong with an answer of the health service: it has to be the status that was asked for,
/// or `OK` from a service that serves.
pub fn fault(wanted: &Wanted, response: &Response) -> Option<&'static str> {
    if response.status != 200 {
        return Some("checking status code");
    }
    let status = response.field(b"grpc-status");
    let is_status =
        |number: u32| status.is_some_and(|status| status == number.to_string().as_bytes());
    match wanted.status {
        Some(number) if !is_status(number) => Some("checking grpc-status"),
        Some(number) if number != 0 => None,
        _ if !is_status(0) => Some("checking grpc-status"),
        _ if response.body.get(5..) == Some(SERVING) => None,
        _ => Some("checking the status of the service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_their_service() {
        assert_eq!(message(b""), [0, 0, 0, 0, 0]);
        assert_eq!(message(b"ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = message(&[b'x'; 300]);
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
    }
}
