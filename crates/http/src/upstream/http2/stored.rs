//! Heads as a cache keeps them: as text, since frames belong to their connection.
//!
//! ```text
//! HTTP/2 200
//! name: value
//!
//! ```

use std::io::Write;

use daemun_core::log;
use daemun_proto::http1::Parsed;
use daemun_proto::http1::header::Line;

use crate::request::Request;
use crate::upstream::head::{Head, InvalidHead, read_line};
use crate::upstream::protocol::HeadStep;

/// No frame begins so: it would have four million bytes.
const BEGIN: &[u8] = b"HTTP/2 ";

pub fn is_stored(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGIN)
}

pub fn write(head: &Head, out: &mut Vec<u8>) {
    out.extend_from_slice(BEGIN);
    let _ = write!(out, "{}\r\n", head.status);
    for (_, field) in &head.fields {
        out.extend_from_slice(field.name.of(&head.bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(&head.bytes));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

pub fn read(request: &Request, bytes: &[u8], head: &mut Head) -> Result<HeadStep, InvalidHead> {
    let invalid = || {
        log!(request.log(), Error, *request, "a stored head of HTTP/2 is damaged");
        InvalidHead
    };
    let status = &bytes[BEGIN.len()..];
    let digits = status.first_chunk::<3>().filter(|_| status[3..].starts_with(b"\r\n"));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    head.status = digits.and_then(|digits| digits.parse().ok()).ok_or_else(invalid)?;
    let mut at = BEGIN.len() + b"200\r\n".len();
    loop {
        match read_line(bytes, &mut at) {
            Ok(Parsed::Done(Line::Header(line), _)) => head.add(request, bytes, line)?,
            Ok(Parsed::Done(Line::End, consumed)) => return Ok(HeadStep::Done { consumed }),
            Ok(Parsed::Incomplete) | Err(_) => return Err(invalid()),
        }
    }
}
