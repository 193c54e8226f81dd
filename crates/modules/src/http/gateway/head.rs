//! The head of a response as CGI has it: fields, and the status among them.

use daemun_core::log;
use daemun_http::request::{Request, Text};
use daemun_http::upstream::field::Field;
use daemun_http::upstream::head::{Head, InvalidHead, read_line};
use daemun_proto::http1::header::{Invalid, Line};
use daemun_proto::http1::{Parsed, parse_status_line};

/// How far a head has been read.
#[derive(Default)]
pub struct CgiHead {
    at: usize,
    /// What comes first may be a line as HTTP has it.
    awaits_status_line: bool,
}

impl CgiHead {
    /// For an application that may begin as an HTTP server does.
    pub fn after_status_line() -> CgiHead {
        CgiHead { at: 0, awaits_status_line: true }
    }

    /// Reads all that has come of the head: where the body begins, once that is known.
    pub fn read(
        &mut self,
        request: &Request,
        received: &[u8],
        head: &mut Head,
    ) -> Result<Option<usize>, InvalidHead> {
        if self.awaits_status_line {
            match parse_status_line(received, 0) {
                Ok(Parsed::Incomplete) => return Ok(None),
                Ok(Parsed::Done(line, end)) => {
                    head.status = line.code;
                    head.status_text = Some(line.text);
                    self.at = end;
                }
                // It begins with a field.
                Err(_) => {}
            }
            self.awaits_status_line = false;
        }
        loop {
            match read_line(received, &mut self.at) {
                Ok(Parsed::Done(Line::Header(line), _)) => head.add(request, received, line)?,
                Ok(Parsed::Done(Line::End, next)) => {
                    settle_status(request, received, head)?;
                    return Ok(Some(next));
                }
                Ok(Parsed::Incomplete) => return Ok(None),
                Err(invalid) => {
                    tell_invalid(request, &received[self.at..], self.at, invalid);
                    return Err(InvalidHead);
                }
            }
        }
    }
}

/// Without a status of its own a response is a redirection where it has a `Location`, and good otherwise.
fn settle_status(request: &Request, received: &[u8], head: &mut Head) -> Result<(), InvalidHead> {
    if head.status != 0 {
        return Ok(());
    }
    let find = |wanted: Field| head.fields.iter().find(|(field, _)| *field == wanted);
    let Some((_, line)) = find(Field::Status) else {
        head.status = if find(Field::Location).is_some() { 302 } else { 200 };
        return Ok(());
    };
    let value = line.value.of(received);
    let digits = value.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let Some(digits) = digits else {
        log!(request.log(), Error, *request, "upstream sent invalid status \"{}\"", Text(value));
        return Err(InvalidHead);
    };
    let text = (value.len() > 3).then_some(line.value);
    head.status = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    head.status_text = text;
    Ok(())
}

/// A line that is no field.
fn tell_invalid(request: &Request, line: &[u8], start: usize, invalid: Invalid) {
    let end = invalid.up_to - start;
    let byte = line.get(end).copied().unwrap_or_default();
    log!(
        request.log(),
        Error,
        *request,
        "upstream sent invalid header: \"{}\\x{:02x}...\"",
        Text(&line[..end]),
        byte
    );
}
