//! `server_status`: what each worker does, for people and for programs, as Apache's mod_status tells it.
//!
//! `?auto` gives Apache's machine-readable keys, `?json` the same and more as JSON, `?refresh=N` has a browser ask again
//! every N seconds.
//!
//! ```nginx
//! location = /server-status {
//!     server_status;
//!     allow 127.0.0.1;
//!     deny  all;
//! }
//! ```

mod auto;
mod html;
mod json;
mod snapshot;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::body::Body;
use daemun_http::core::tracking;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step};
use daemun_http::request::Request;
use daemun_http::status::Status;

use super::reads_only;
use snapshot::Snapshot;

settings! {
    pub struct Settings {
        is_here: Own<bool>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_server_status_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "server_status" in SERVER | LOCATION, Exactly(0), "", Action::Set(server_status),
                "Answers with what each worker does: a page, ?auto for programs, ?json.";
        },
    },
    handlers: &[PhaseHandler {
        phase: Phase::Content,
        applies: |settings| settings.of(&SETTINGS).is_here.0,
        handler: Handler::Now(answer),
    }],
    ..HttpModule::EMPTY
};

/// What the query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    format: Format,
    /// Seconds between two looks of a browser.
    refresh: Option<u32>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Html,
    Auto,
    Json,
}

impl Query {
    /// Without a number a browser asks every 10 seconds, as with Apache.
    const REFRESH: u32 = 10;

    fn parse(args: &[u8]) -> Query {
        let mut query = Query::default();
        for part in args.split(|byte| *byte == b'&') {
            match part {
                b"auto" => query.format = Format::Auto,
                b"json" => query.format = Format::Json,
                b"refresh" => query.refresh = Some(Self::REFRESH),
                _ => {
                    let Some(digits) = part.strip_prefix(b"refresh=") else { continue };
                    let seconds = conf::units::integer(digits).and_then(|n| u32::try_from(n).ok());
                    query.refresh = Some(seconds.filter(|n| *n > 0).unwrap_or(Self::REFRESH));
                }
            }
        }
        query
    }
}

fn answer(request: &mut Request) -> Step {
    if !reads_only(request) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    let query = Query::parse(&request.args);
    let snapshot = Snapshot::take(request);
    let (content_type, page) = match query.format {
        Format::Html => ("text/html; charset=utf-8", html::page(&snapshot)),
        Format::Auto => ("text/plain; charset=utf-8", auto::page(&snapshot)),
        Format::Json => ("application/json", json::page(&snapshot)),
    };
    let response = &mut request.response;
    response.status = Status::OK;
    response.content_type = Some(Bytes::from_static(content_type.as_bytes()));
    response.add("Cache-Control", Bytes::from_static(b"no-store"));
    if let Some(seconds) = query.refresh {
        response.add("Refresh", seconds.to_string());
    }
    Step::Respond(Body::bytes(page))
}

fn server_status(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    let is_here = &mut loader.settings(&SETTINGS).is_here;
    if std::mem::replace(is_here, Own(true)).0 {
        return Err("is duplicate".into());
    }
    loader.settings(&tracking::SETTINGS).shows_requests = Own(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_format_and_pace() {
        let query = |args: &str| Query::parse(args.as_bytes());
        assert_eq!(query(""), Query::default());
        assert_eq!(query("auto").format, Format::Auto);
        assert_eq!(query("refresh=5&json"), Query { format: Format::Json, refresh: Some(5) });
        for args in ["refresh", "refresh=", "refresh=0", "refresh=x", "refresh=99999999999"] {
            assert_eq!(query(args).refresh, Some(10), "{args}");
        }
    }
}
