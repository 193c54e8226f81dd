//! `add_before_body` and `add_after_body`: other responses around a response.
//!
//! ```nginx
//! location / {
//!     add_before_body /header.html;
//!     add_after_body  /footer.html;
//! }
//! ```

use std::io;
use std::task::{Context, Poll, ready};

use daemun_core::module::{Module, SettingsKey};
use daemun_core::{directives, set, settings, values};
use daemun_http::body::{Body, BodyStream, NextChunk};
use daemun_http::module::{Apply, Filter, HttpModule};
use daemun_http::request::Request;
use daemun_http::set_types;
use daemun_http::status::Status;
use daemun_http::subrequest::Subrequest;
use daemun_http::type_set::TypeSet;

settings! {
    pub struct Settings {
        /// URIs; empty: nothing is added.
        before: Vec<u8> = Vec::new(),
        after: Vec<u8> = Vec::new(),
        types: TypeSet = TypeSet::html(),
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_addition_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "add_before_body" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.before, values::bytes),
                "The URI whose response goes before the body.";
            "add_after_body" in HTTP_SERVER_LOCATION, Exactly(1), "",
                set!(SETTINGS.after, values::bytes),
                "The URI whose response goes behind the body.";
            "addition_types" in HTTP_SERVER_LOCATION, AtLeast(1), "",
                set_types!(SETTINGS.types),
                "Media types of responses that are added to besides text/html.";
        },
    },
    filters: &[Filter {
        applies: |settings| {
            let settings = settings.of(&SETTINGS);
            !settings.before.is_empty() || !settings.after.is_empty()
        },
        apply: Apply::Now(filter),
    }],
    ..HttpModule::EMPTY
};

fn filter(request: &mut Request, body: Body) -> Result<Body, Status> {
    let settings = request.settings(&SETTINGS);
    if request.response.status != Status::OK
        || request.is_subrequest()
        || !settings.types.has(&request.response)
    {
        return Ok(body);
    }
    request.response.rewrites_body();
    request.response.weaken_etag();
    let (before, after) = (Addition::new(&settings.before), Addition::new(&settings.after));
    Ok(Body::stream(Surrounded { before, body, after }))
}

struct Surrounded {
    before: Addition,
    body: Body,
    after: Addition,
}

/// A response that is asked for when its turn comes.
enum Addition {
    Nothing,
    Due(&'static [u8]),
    Begun(Subrequest),
}

impl Addition {
    fn new(uri: &'static [u8]) -> Addition {
        if uri.is_empty() { Addition::Nothing } else { Addition::Due(uri) }
    }

    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        if let Addition::Due(uri) = *self {
            match Subrequest::begin(request, uri, b"") {
                Ok(begun) => *self = Addition::Begun(begun),
                Err(_) => return Poll::Ready(Some(Err(io::Error::other("no subrequest")))),
            }
        }
        let Addition::Begun(begun) = self else {
            return Poll::Ready(None);
        };
        let next = ready!(begun.poll_next(request, cx));
        if next.is_none() {
            *self = Addition::Nothing;
        }
        Poll::Ready(next)
    }
}

impl BodyStream for Surrounded {
    fn poll_next(&mut self, request: &mut Request, cx: &mut Context<'_>) -> NextChunk {
        if let Some(next) = ready!(self.before.poll_next(request, cx)) {
            return Poll::Ready(Some(next));
        }
        if let Some(next) = ready!(self.body.poll_next(request, cx)) {
            return Poll::Ready(Some(next));
        }
        self.after.poll_next(request, cx)
    }
}
