//! The pages that the server makes itself: errors and redirects.

use bytes::Bytes;

use crate::body::Body;
use crate::config::ServerHeader;
use crate::core::sending::ServerTokens;
use crate::head::Known;
use crate::request::Request;
use crate::status::Status;
use crate::{escape, user_agent};

/// What lengthens short pages for browsers that would show their own instead.
const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";

/// After these nothing that the client sent, or will send, can be made sense of, or too much of it would follow.
pub fn ends_connection(status: Status) -> bool {
    matches!(status.0, 400 | 413 | 414 | 495..=497 | 500 | 501)
}

/// Sets the response's head for `status` and makes the page that goes with it.
pub fn build(request: &mut Request, status: Status) -> Body {
    if matches!(status, Status::MOVED_PERMANENTLY | Status::FOUND)
        && *request.core().sending.msie_refresh
        && request.header(Known::UserAgent).is_some_and(user_agent::is_msie)
        && let Some(location) = request.response.location.take()
    {
        return refresh(request, &location);
    }
    request.response.status = status.on_the_wire();
    let Some((title, text)) = page(status) else {
        request.response.content_length = Some(0);
        return Body::Empty;
    };
    let settings = &request.core().sending;
    let foot = foot(&request.config.surroundings.server_header, *settings.server_tokens);
    let mut html = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{}</h1></center>\r\n",
        text.heading
    );
    if let Some(detail) = text.detail {
        html.push_str(&format!("<center>{detail}</center>\r\n"));
    }
    html.push_str(&format!("<hr><center>{foot}</center>\r\n</body>\r\n</html>\r\n"));
    if *settings.msie_padding && status.0 >= 400 && hides_short_pages(request) {
        html.push_str(&PADDING.repeat(6));
    }
    request.response.content_type = Some(Bytes::from_static(b"text/html"));
    request.response.content_length = Some(html.len() as u64);
    Body::bytes(html)
}

/// A page that leads elsewhere by itself.
fn refresh(request: &mut Request, location: &[u8]) -> Body {
    let mut html = b"<html><head><meta http-equiv=\"Refresh\" content=\"0; URL=".to_vec();
    escape::refresh(location, &mut html);
    html.extend_from_slice(b"\"></head><body></body></html>\r\n");
    request.error_status = Status::OK.0;
    request.response.status = Status::OK;
    request.response.content_type = Some(Bytes::from_static(b"text/html"));
    request.response.content_length = Some(html.len() as u64);
    Body::bytes(html)
}

fn foot(server: &ServerHeader, tokens: ServerTokens) -> &str {
    match tokens {
        ServerTokens::Off => server.name,
        ServerTokens::On => &server.version,
        ServerTokens::Build => &server.build,
    }
}

fn hides_short_pages(request: &Request) -> bool {
    request.header(Known::UserAgent).is_some_and(|agent| {
        let has = |text: &[u8]| memchr::memmem::find(agent, text).is_some();
        has(b"MSIE ") && !has(b"Opera") || has(b"Chrome/")
    })
}

struct PageText {
    heading: &'static str,
    detail: Option<&'static str>,
}

/// The title, heading and detail of a status that has a page.
fn page(status: Status) -> Option<(&'static str, PageText)> {
    let plain = |title: &'static str| Some((title, PageText { heading: title, detail: None }));
    let detailed = |title: &'static str, detail: &'static str| {
        Some((title, PageText { heading: "400 Bad Request", detail: Some(detail) }))
    };
    match status.0 {
        301 => plain("301 Moved Permanently"),
        302 => plain("302 Found"),
        303 => plain("303 See Other"),
        307 => plain("307 Temporary Redirect"),
        308 => plain("308 Permanent Redirect"),
        400 => plain("400 Bad Request"),
        401 => plain("401 Authorization Required"),
        402 => plain("402 Payment Required"),
        403 => plain("403 Forbidden"),
        404 | 498 => plain("404 Not Found"),
        405 => plain("405 Not Allowed"),
        406 => plain("406 Not Acceptable"),
        407 => plain("407 Proxy Authentication Required"),
        408 => plain("408 Request Time-out"),
        409 => plain("409 Conflict"),
        410 => plain("410 Gone"),
        411 => plain("411 Length Required"),
        412 => plain("412 Precondition Failed"),
        413 => plain("413 Request Entity Too Large"),
        414 => plain("414 Request-URI Too Large"),
        415 => plain("415 Unsupported Media Type"),
        416 => plain("416 Requested Range Not Satisfiable"),
        421 => plain("421 Misdirected Request"),
        429 => plain("429 Too Many Requests"),
        494 => {
            detailed("400 Request Header Or Cookie Too Large", "Request Header Or Cookie Too Large")
        }
        495 => detailed("400 The SSL certificate error", "The SSL certificate error"),
        496 => detailed(
            "400 No required SSL certificate was sent",
            "No required SSL certificate was sent",
        ),
        497 => detailed(
            "400 The plain HTTP request was sent to HTTPS port",
            "The plain HTTP request was sent to HTTPS port",
        ),
        500 => plain("500 Internal Server Error"),
        501 => plain("501 Not Implemented"),
        502 => plain("502 Bad Gateway"),
        503 => plain("503 Service Temporarily Unavailable"),
        504 => plain("504 Gateway Time-out"),
        505 => plain("505 HTTP Version Not Supported"),
        507 => plain("507 Insufficient Storage"),
        _ => None,
    }
}
