//! `stub_status`: the server's counters as a page, and as variables.
//!
//! ```nginx
//! location = /status {
//!     stub_status;
//!     allow 127.0.0.1;
//!     deny  all;
//! }
//! ```

use std::io::Write;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::setting::Own;
use daemun_core::{directives, settings};
use daemun_http::body::Body;
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;
use daemun_shm::Totals;

use super::reads_only;

settings! {
    pub struct Settings {
        is_here: Own<bool>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_stub_status_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "stub_status" in SERVER | LOCATION, Between(0, 1), "", Action::Set(stub_status),
                "Answers with the numbers of connections and requests.";
        },
    },
    variables: &[
        Variable::new("connections_active", |request, _, out| {
            append(request.scoreboard().totals().active, out)
        }),
        Variable::new("connections_reading", |request, _, out| {
            append(request.scoreboard().totals().reading, out)
        }),
        Variable::new("connections_waiting", |request, _, out| {
            append(request.scoreboard().totals().waiting, out)
        }),
        Variable::new("connections_writing", |request, _, out| {
            append(request.scoreboard().totals().writing, out)
        }),
    ],
    handlers: &[PhaseHandler {
        phase: Phase::Dedicated,
        applies: |settings| settings.of(&SETTINGS).is_here.0,
        handler: Handler::Now(answer),
    }],
    ..HttpModule::EMPTY
};

fn answer(request: &mut Request) -> Step {
    if !reads_only(request) {
        return Step::Status(Status::NOT_ALLOWED);
    }
    request.response.status = Status::OK;
    request.response.content_type = Some(Bytes::from_static(b"text/plain"));
    Step::Respond(Body::bytes(page(&request.scoreboard().totals())))
}

fn page(totals: &Totals) -> String {
    let Totals { accepted, handled, requests, active, reading, writing, waiting, .. } = totals;
    format!(
        "Active connections: {active} \n\
         server accepts handled requests\n \
         {accepted} {handled} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}

fn append(number: i64, out: &mut Vec<u8>) -> bool {
    write!(out, "{number}").is_ok()
}

fn stub_status(loader: &mut Loader<'_>, _: &conf::Directive) -> Result<(), Fault> {
    loader.settings(&SETTINGS).is_here = Own(true);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_nginx_own() {
        let totals = Totals {
            accepted: 5,
            handled: 4,
            requests: 9,
            active: 2,
            reading: 0,
            writing: 1,
            waiting: 1,
            ..Totals::default()
        };
        let expected = "Active connections: 2 \nserver accepts handled requests\n 5 4 9 \n\
                        Reading: 0 Writing: 1 Waiting: 1 \n";
        assert_eq!(page(&totals), expected);
    }
}
