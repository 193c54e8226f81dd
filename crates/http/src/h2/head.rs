//! The head of a request that came by HTTP/2, made into what one of HTTP/1 would be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use daemun_core::log;
use daemun_proto::http1::{HeaderLine, Method, Parsed, Range, Version, parse_request_line};
use daemun_proto::http2::{Message, Sink};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::core::http2;
use crate::h1::validate;
use crate::head::{Known, RequestHead};
use crate::request::{Request, Text};
use crate::request_body::RequestBody;
use crate::status::Status;

/// Fields are read straight into the request.
pub(super) struct Incoming<'r> {
    pub head: &'r mut RequestHead,
}

impl Sink for Incoming<'_> {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.head.bytes
    }

    /// All of them: which are allowed is asked once the server is known.
    fn add(&mut self, field: HeaderLine) {
        self.head.fields.push(field);
    }
}

/// Makes the request of a message whose fields have been read into it; an error is the answer that it deserves.
pub(super) fn settle(request: &mut Request, message: &Message) -> Result<(), Status> {
    request.doing = "reading client request headers";
    if let Some(malformed) = message.malformed {
        write_line(request, message);
        log!(request.log(), Info, *request, "client {}", malformed.reason());
        return Err(Status::BAD_REQUEST);
    }
    let is_read = write_line(request, message);
    let is_connect = request.head.method() == Method::Connect;
    if is_connect {
        log!(request.log(), Info, *request, "client sent CONNECT method");
        return Err(Status::NOT_ALLOWED);
    }
    if !is_read {
        let path = message.pseudo.path.map(|path| path.of(&request.head.bytes));
        let path = Text(path.unwrap_or_default());
        log!(request.log(), Info, *request, "client sent invalid :path header: \"{}\"", path);
        return Err(Status::BAD_REQUEST);
    }
    validate::target(request)?;
    add_fields(request, message)?;
    if request.is_tunnel() {
        return ask_to_upgrade(request, message);
    }
    request.body = match (message.is_end, message.content_length) {
        (true, None) => RequestBody::default(),
        (true, Some(length)) => RequestBody::of_length(length),
        (false, length) => RequestBody::of_stream(length),
    };
    if !request.virtual_servers().http2 && !http2::is_spoken(request.server.settings()) {
        let what = "client attempted to request the server name for which the negotiated protocol \
                    is disabled";
        log!(request.log(), Info, *request, "{}", what);
        return Err(Status::MISDIRECTED_REQUEST);
    }
    request.keepalive = true;
    if request.head.method() == Method::Trace {
        log!(request.log(), Info, *request, "client sent TRACE method");
        return Err(Status::NOT_ALLOWED);
    }
    Ok(())
}

/// Appends the line that such a request would have in HTTP/1, so that `$request` and all who look at the target find
/// what they find there. False where the target is none.
fn write_line(request: &mut Request, message: &Message) -> bool {
    let head = &mut request.head;
    let pseudo = &message.pseudo;
    let start = head.bytes.len();
    let append = |head: &mut RequestHead, part: Option<Range>| {
        let begin = head.bytes.len();
        if let Some(part) = part {
            head.bytes.extend_from_within(part.start as usize..part.end as usize);
        }
        Range::new(begin, head.bytes.len())
    };
    let name = match pseudo.protocol {
        None => append(head, pseudo.method),
        // What HTTP/1 has for it begins with GET.
        Some(_) => {
            head.bytes.extend_from_slice(b"GET");
            Range::new(start, head.bytes.len())
        }
    };
    let line = &mut request.head.line;
    line.method_name = name;
    line.method = Method::from_name(name.of(&request.head.bytes));
    request.head.bytes.push(b' ');
    let target = append(&mut request.head, pseudo.path.or(pseudo.authority));
    request.head.bytes.extend_from_slice(b" HTTP/1.1\r\n");
    // What stands before the target is of no concern for how it is read.
    let known = match parse_request_line(&request.head.bytes, start) {
        Ok(Parsed::Done(line, _)) => Some(line),
        _ => None,
    };
    let bytes = &mut request.head.bytes;
    bytes.truncate(bytes.len() - b"1.1\r\n".len());
    bytes.extend_from_slice(b"2.0");
    let end = bytes.len();
    let line = &mut request.head.line;
    let known = known.filter(|known| known.target == target);
    if let Some(known) = known {
        *line = known;
    }
    line.version = Version::HTTP_2;
    line.line = Range::new(start, end);
    request.head_end = end;
    request.consumed = end;
    known.is_some()
}

/// Takes the fields over that the configuration lets in, and finds the server.
fn add_fields(request: &mut Request, message: &Message) -> Result<(), Status> {
    let fields = std::mem::take(&mut request.head.fields);
    let has_host = fields.iter().any(|field| {
        field.name.len() == 4 && field.name.of(&request.head.bytes).eq_ignore_ascii_case(b"host")
    });
    let authority = message.pseudo.authority.filter(|_| !has_host).map(|value| {
        let bytes = &mut request.head.bytes;
        let start = bytes.len();
        bytes.extend_from_slice(b"host");
        HeaderLine { name: Range::new(start, bytes.len()), value, is_odd: false }
    });
    let end = request.head.bytes.len();
    request.head_end = end;
    request.consumed = end;
    // As in nginx, what is made of the authority is not counted.
    for field in authority.into_iter().chain(fields) {
        let settings = &request.core().client;
        if field.is_odd && *settings.ignore_invalid_headers {
            let bytes = &request.head.bytes;
            let (name, value) = (Text(field.name.of(bytes)), Text(field.value.of(bytes)));
            let what = "client sent invalid header";
            log!(request.log(), Info, *request, "{}: \"{}: {}\"", what, name, value);
            continue;
        }
        let count = request.head.fields.len().saturating_sub(usize::from(authority.is_some()));
        if count >= *settings.max_headers && Some(field) != authority {
            log!(request.log(), Info, *request, "client sent too many header lines");
            return Err(Status::HEADER_TOO_LARGE);
        }
        match request.head.add(field) {
            Ok(()) => validate::field(request, field)?,
            Err(duplicate) => {
                validate::log_duplicate(request, field, duplicate.0);
                return Err(Status::BAD_REQUEST);
            }
        }
    }
    if request.header(Known::Host).is_none() {
        log!(
            request.log(),
            Info,
            *request,
            "client sent neither \":authority\" nor \"Host\" header"
        );
        return Err(Status::BAD_REQUEST);
    }
    Ok(())
}

/// Makes a request to upgrade of one for a tunnel (RFC 8441): the same to modules and servers behind.
fn ask_to_upgrade(request: &mut Request, message: &Message) -> Result<(), Status> {
    let head = &mut request.head;
    let protocol = message.pseudo.protocol.map_or(Vec::new(), |name| name.of(&head.bytes).to_vec());
    if protocol != b"websocket" {
        let what = "client asked for a tunnel of an unknown protocol";
        log!(request.log(), Info, *request, "{}: \"{}\"", what, Text(&protocol));
        return Err(Status::NOT_IMPLEMENTED);
    }
    let mut key = [0; 16];
    let _ = getrandom(&mut key, GetRandomFlags::empty());
    let key = STANDARD.encode(key);
    for (name, value) in
        [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", &key)]
    {
        let start = head.bytes.len();
        head.bytes.extend_from_slice(name.as_bytes());
        let middle = head.bytes.len();
        head.bytes.extend_from_slice(value.as_bytes());
        let (name, value) = (Range::new(start, middle), Range::new(middle, head.bytes.len()));
        let _ = head.add(HeaderLine { name, value, is_odd: false });
    }
    request.head_end = head.bytes.len();
    request.consumed = head.bytes.len();
    request.keepalive = true;
    Ok(())
}
