//! Reading a request's head within nginx's limits.

use daemun_core::connection::Scanned;
use daemun_core::{debug, log};
use daemun_proto::http1::header::{self, Line};
use daemun_proto::http1::request_line::Invalid;
use daemun_proto::http1::{
    HeaderLine, Method, Parsed, Range, Version, parse_header_line, parse_request_line,
};

use super::validate;
use crate::core::client::Settings;
use crate::request::{Request, Text};
use crate::status::Status;

/// What the bytes so far amount to.
pub enum Head {
    /// A whole head, which ends there.
    Complete(usize),
    Incomplete,
    Refused(Status),
    /// What has come is the beginning of a TLS handshake.
    Handshake,
    /// The client speaks HTTP/2.
    Http2,
}

/// nginx's buffers as bounds on a contiguous head: a first one, then large ones, each beginning with the line that
/// did not fit in the one before.
struct Bounds {
    start: usize,
    size: usize,
    large_left: usize,
    large_size: usize,
}

impl Bounds {
    fn new(settings: &Settings) -> Bounds {
        let (large_left, large_size) = *settings.large_header_buffers;
        Bounds { start: 0, size: *settings.header_buffer_size, large_left, large_size }
    }

    /// Whether a line from `line` up to `end` finds room; one that goes on needs a byte more.
    fn admit(&mut self, line: usize, end: usize) -> bool {
        if end - self.start <= self.size {
            return true;
        }
        if self.large_left == 0 || end - line > self.large_size {
            return false;
        }
        self.large_left -= 1;
        self.start = line;
        self.size = self.large_size;
        true
    }
}

/// Reads the head at the front of the request's bytes and finds its server. An incomplete head is read again from
/// its beginning once more has come.
#[inline]
pub fn parse(request: &mut Request) -> Head {
    request.head.clear_fields();
    request.doing = match request.is_pipelined {
        false => "reading client request line",
        true => "reading client pipelined request line",
    };
    let settings = &request.core().client;
    let mut bounds = Bounds::new(settings);
    let (line, end) = match parse_request_line(&request.head.bytes, 0) {
        Ok(Parsed::Done(line, end)) => (line, end),
        Ok(Parsed::Incomplete) => {
            forget_blank_lines(request);
            return unfinished_request_line(request, bounds);
        }
        Err(invalid) => return refuse_request_line(request, invalid),
    };
    request.head.line = line;
    request.head_end = end;
    if !bounds.admit(line.line.start as usize, end) {
        return too_long_uri(request);
    }
    if let Err(status) = validate::target(request) {
        return Head::Refused(status);
    }
    debug!(
        request.log(),
        Http,
        *request,
        "http request line: \"{}\"",
        Text(request.head.request_line())
    );
    debug!(request.log(), Http, *request, "http uri: \"{}\"", Text(&request.uri));
    debug!(request.log(), Http, *request, "http args: \"{}\"", Text(&request.args));
    if line.version == Version::HTTP_09 {
        return Head::Complete(end);
    }
    request.doing = "reading client request headers";
    match parse_fields(request, bounds, end) {
        Ok(Some(end)) => match header_done(request) {
            Ok(()) => Head::Complete(end),
            Err(status) => Head::Refused(status),
        },
        Ok(None) => Head::Incomplete,
        Err(status) => Head::Refused(status),
    }
}

/// Whether what has come goes on with a field's value, within its bounds: then there is nothing to read yet. A head that
/// comes byte by byte would else be read from its beginning for each of them.
pub fn goes_on(request: &mut Request) -> bool {
    let Some(scanned) = &mut request.scanned else { return false };
    let bytes = &request.head.bytes;
    let Some(new) = bytes.get(scanned.seen..) else { return false };
    let goes_on =
        bytes.len() < scanned.most && !new.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0));
    scanned.seen = bytes.len();
    if !goes_on {
        request.scanned = None;
    }
    goes_on
}

fn header_done(request: &mut Request) -> Result<(), Status> {
    debug!(request.log(), Http, *request, "http header done");
    validate::head(request)
}

/// Blank lines in front of a request mean nothing: however many come, they take no room.
fn forget_blank_lines(request: &mut Request) {
    let bytes = &mut request.head.bytes;
    let blank = bytes.iter().take_while(|byte| is_line_end(byte)).count();
    bytes.drain(..blank);
}

fn unfinished_request_line(request: &mut Request, mut bounds: Bounds) -> Head {
    let bytes = &request.head.bytes;
    let blank = bytes.iter().take_while(|byte| is_line_end(byte)).count();
    match bounds.admit(blank, bytes.len() + 1) {
        true => Head::Incomplete,
        false => too_long_uri(request),
    }
}

fn too_long_uri(request: &mut Request) -> Head {
    log!(request.log(), Info, *request, "client sent too long URI");
    Head::Refused(Status::URI_TOO_LONG)
}

fn refuse_request_line(request: &mut Request, invalid: Invalid) -> Head {
    let reason = match invalid {
        Invalid::Method => "client sent invalid method",
        Invalid::Request => "client sent invalid request",
        Invalid::Version => "client sent invalid version",
        Invalid::Method09 => "client sent invalid method in HTTP/0.9 request",
    };
    let bytes = &request.head.bytes;
    let start = bytes.iter().take_while(|byte| is_line_end(byte)).count();
    let length = bytes[start..].iter().take_while(|byte| !is_line_end(byte)).count();
    let line = &mut request.head.line;
    line.line = Range::new(start, start + length);
    // The refusal of a HEAD has no body either.
    if request.head.bytes[start..].starts_with(b"HEAD ") {
        line.method = Method::Head;
    }
    if invalid == Invalid::Method09 {
        request.head.line.version = Version::HTTP_09;
    }
    log!(request.log(), Info, *request, "{}", reason);
    Head::Refused(match invalid {
        Invalid::Version => Status::VERSION_NOT_SUPPORTED,
        _ => Status::BAD_REQUEST,
    })
}

fn is_line_end(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Reads the fields from `at` on; `None` where they go on beyond what has come.
fn parse_fields(
    request: &mut Request,
    mut bounds: Bounds,
    mut at: usize,
) -> Result<Option<usize>, Status> {
    loop {
        // The Host field may have chosen another server.
        let settings = &request.core().client;
        let bytes = &request.head.bytes;
        match parse_header_line(bytes, at, *settings.underscores_in_headers) {
            Ok(Parsed::Done(line, end)) => {
                if !bounds.admit(at, end) {
                    return Err(too_large(request, at));
                }
                request.head_end = end;
                match line {
                    Line::End => return Ok(Some(end)),
                    Line::Header(field) => add_field(request, field, settings)?,
                }
                at = end;
            }
            Ok(Parsed::Incomplete) => {
                if !bounds.admit(at, bytes.len() + 1) {
                    return Err(too_large(request, at));
                }
                let line = &bytes[at..];
                let is_in_value = memchr::memchr(b':', line).is_some() && !line.ends_with(b"\r");
                let scanned = Scanned { seen: bytes.len(), most: bounds.start + bounds.size };
                request.scanned = is_in_value.then_some(scanned);
                return Ok(None);
            }
            Err(header::Invalid { up_to }) => {
                log!(
                    request.log(),
                    Info,
                    *request,
                    "client sent invalid header line: \"{}\\x{:02x}...\"",
                    Text(&bytes[at..up_to]),
                    bytes[up_to]
                );
                return Err(Status::BAD_REQUEST);
            }
        }
    }
}

fn too_large(request: &Request, line: usize) -> Status {
    const SHOWN: usize = 1700;
    let rest = &request.head.bytes[line..];
    let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
    let shown = &rest[..end.min(SHOWN)];
    log!(request.log(), Info, *request, "client sent too long header line: \"{}...\"", Text(shown));
    Status::HEADER_TOO_LARGE
}

fn add_field(request: &mut Request, field: HeaderLine, settings: &Settings) -> Result<(), Status> {
    if field.is_odd && *settings.ignore_invalid_headers {
        let start = field.name.start as usize;
        let line = &request.head.bytes[start..field.value.end as usize];
        log!(request.log(), Info, *request, "client sent invalid header line: \"{}\"", Text(line));
        return Ok(());
    }
    if request.head.fields.len() >= *settings.max_headers {
        log!(request.log(), Info, *request, "client sent too many header lines");
        return Err(Status::HEADER_TOO_LARGE);
    }
    match request.head.add(field) {
        Ok(()) => {
            let bytes = &request.head.bytes;
            let (name, value) = (Text(field.name.of(bytes)), Text(field.value.of(bytes)));
            debug!(request.log(), Http, *request, "http header: \"{}: {}\"", name, value);
            validate::field(request, field)
        }
        Err(duplicate) => {
            validate::log_duplicate(request, field, duplicate.0);
            Err(Status::BAD_REQUEST)
        }
    }
}
