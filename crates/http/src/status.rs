//! Status codes: the lines and pages that nginx has for them.

/// A response's status code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal,)*) => {
        impl Status {
            $(pub const $name: Status = Status($code);)*
        }

        /// `HTTP/1.1 200 OK\r\n`, ready to send.
        fn known_line(status: Status) -> Option<&'static [u8]> {
            match status.0 {
                $($code => Some(concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n").as_bytes()),)*
                _ => None,
            }
        }
    };
}

statuses! {
    SWITCHING_PROTOCOLS = 101 "Switching Protocols",
    OK = 200 "OK",
    CREATED = 201 "Created",
    ACCEPTED = 202 "Accepted",
    NO_CONTENT = 204 "No Content",
    PARTIAL_CONTENT = 206 "Partial Content",
    MOVED_PERMANENTLY = 301 "Moved Permanently",
    FOUND = 302 "Moved Temporarily",
    SEE_OTHER = 303 "See Other",
    NOT_MODIFIED = 304 "Not Modified",
    TEMPORARY_REDIRECT = 307 "Temporary Redirect",
    PERMANENT_REDIRECT = 308 "Permanent Redirect",
    BAD_REQUEST = 400 "Bad Request",
    UNAUTHORIZED = 401 "Unauthorized",
    PAYMENT_REQUIRED = 402 "Payment Required",
    FORBIDDEN = 403 "Forbidden",
    NOT_FOUND = 404 "Not Found",
    NOT_ALLOWED = 405 "Not Allowed",
    NOT_ACCEPTABLE = 406 "Not Acceptable",
    PROXY_AUTHENTICATION_REQUIRED = 407 "Proxy Authentication Required",
    REQUEST_TIMEOUT = 408 "Request Time-out",
    CONFLICT = 409 "Conflict",
    GONE = 410 "Gone",
    LENGTH_REQUIRED = 411 "Length Required",
    PRECONDITION_FAILED = 412 "Precondition Failed",
    CONTENT_TOO_LARGE = 413 "Request Entity Too Large",
    URI_TOO_LONG = 414 "Request-URI Too Large",
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type",
    RANGE_NOT_SATISFIABLE = 416 "Requested Range Not Satisfiable",
    MISDIRECTED_REQUEST = 421 "Misdirected Request",
    TOO_MANY_REQUESTS = 429 "Too Many Requests",
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error",
    NOT_IMPLEMENTED = 501 "Not Implemented",
    BAD_GATEWAY = 502 "Bad Gateway",
    SERVICE_UNAVAILABLE = 503 "Service Temporarily Unavailable",
    GATEWAY_TIMEOUT = 504 "Gateway Time-out",
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported",
    INSUFFICIENT_STORAGE = 507 "Insufficient Storage",
}

impl Status {
    /// nginx's own: close the connection and say nothing.
    pub const CLOSE: Status = Status(444);
    /// nginx's own: a request header is too large; told to the client as 400.
    pub const HEADER_TOO_LARGE: Status = Status(494);
    /// nginx's own: the client's certificate will not do; told to the client as 400.
    pub const CERTIFICATE_ERROR: Status = Status(495);
    /// nginx's own: the client showed no certificate; told to the client as 400.
    pub const NO_CERTIFICATE: Status = Status(496);
    /// nginx's own: plain HTTP on a TLS port; told to the client as 400.
    pub const TO_HTTPS: Status = Status(497);
    /// nginx's own: the client went away; for the log only.
    pub const CLIENT_CLOSED: Status = Status(499);

    /// The status line for the client; `None` where there is no text for the code and only the number is sent.
    pub fn known_line(self) -> Option<&'static [u8]> {
        known_line(self)
    }

    /// What the client is told for the codes that only the log and `error_page` know.
    pub fn on_the_wire(self) -> Status {
        match self.0 {
            494..=497 => Status::BAD_REQUEST,
            _ => self,
        }
    }

    pub fn is_redirect(self) -> bool {
        matches!(self.0, 301 | 302 | 303 | 307 | 308)
    }
}
