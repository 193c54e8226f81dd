//! `limit_conn`: so many connections at a time of one client, or of whatever else a key tells
//! apart. A connection counts while it has a request whose head has been read.
//!
//! ```nginx
//! limit_conn_zone $binary_remote_addr zone=clients:10m;
//! limit_conn_zone $server_name        zone=servers:10m;
//! server {
//!     limit_conn clients 10;
//!     limit_conn servers 1000;
//! }
//! ```

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::log::{Level, Log};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::zones::Purpose;
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;

use crate::shared::limits;
use crate::shared::limits::connections::{self, Count, Held, Limit, Verdict};

settings! {
    pub struct Settings {
        limits: Vec<Limit> = Vec::new(),
        dry_run: bool = false,
        log_level: Level = Level::Error,
        status: u32 = 503,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_limit_conn_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "limit_conn_zone" in HTTP, Exactly(2), "", Action::Set(zone),
                "A key, and the zone that counts connections by it.";
            "limit_conn" in HTTP_SERVER_LOCATION, Exactly(2), "", Action::Set(limit),
                "A zone, and how many connections at a time it allows for a value of its key.";
            "limit_conn_dry_run" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.dry_run, values::flag),
                "Counts and logs connections that are too many, and lets them pass.";
            "limit_conn_log_level" in HTTP_SERVER_LOCATION, Exactly(1), "error",
                set!(SETTINGS.log_level, |directive| values::choice(directive, limits::LEVELS)),
                "The level at which refusals are logged.";
            "limit_conn_status" in HTTP_SERVER_LOCATION, Exactly(1), "503",
                set!(SETTINGS.status, |directive| values::integer_in(directive, 400, 599)),
                "What a refused request is answered with.";
        },
    },
    variables: &[Variable::new("limit_conn_status", |request, _, out| {
        let Some(outcome) = outcome(request) else { return false };
        out.extend_from_slice(outcome.name().as_bytes());
        true
    })],
    handlers: &[PhaseHandler {
        phase: Phase::PreAccess,
        applies: |settings| !settings.of(&SETTINGS).limits.is_empty(),
        handler: Handler::Now(check),
    }],
    ..HttpModule::EMPTY
};

/// What counts are for: they outlive their configuration.
const PURPOSE: Purpose = Purpose { user: "http_limit_conn", fresh: false };

/// What a request and its subrequests have together; it ends with the last of them, once the
/// access log has its line.
#[derive(Default)]
struct Counted {
    outcome: Option<Outcome>,
    _held: Vec<Held>,
}

/// `$limit_conn_status`.
#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Rejected,
    RejectedDryRun,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "PASSED",
            Outcome::Rejected => "REJECTED",
            Outcome::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

fn outcome(request: &mut Request) -> Option<Outcome> {
    request.with_shared(&SETTINGS, |counted: &mut Counted| counted.outcome)
}

fn check(request: &mut Request) -> Step {
    if outcome(request).is_some() {
        return Step::Declined;
    }
    // a request that is only explained is nobody's
    let Some(owner) = request.owner() else { return Step::Declined };
    let settings = request.settings(&SETTINGS);
    let (log, now) = (request.log(), daemun_event::shared_now());
    let board = Request::scoreboard;
    let verdict = connections::judge(&settings.limits, now, request, owner, board, log);
    let (outcome, held, step) = match verdict {
        Verdict::Unlimited => return Step::Declined,
        Verdict::Passed(held) => (Outcome::Passed, held, Step::Declined),
        Verdict::Refused { zone } => {
            let dry_run = if *settings.dry_run { ", dry run," } else { "" };
            limits::tell(
                log,
                *settings.log_level,
                request,
                format_args!("limiting connections{dry_run} by zone \"{zone}\""),
            );
            refuse(settings)
        }
        Verdict::NoRoom { zone } => {
            let log = Log::current();
            let sentence = "ngx_slab_alloc() failed: no memory in limit_conn_zone";
            log!(log, Crit, (), "{} \"{}\"", sentence, zone);
            refuse(settings)
        }
    };
    request.with_shared(&SETTINGS, |counted: &mut Counted| {
        *counted = Counted { outcome: Some(outcome), _held: held };
    });
    step
}

fn refuse(settings: &Settings) -> (Outcome, Vec<Held>, Step) {
    match *settings.dry_run {
        true => (Outcome::RejectedDryRun, Vec::new(), Step::Declined),
        false => (Outcome::Rejected, Vec::new(), Step::Status(Status(*settings.status as u16))),
    }
}

fn zone(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    limits::read_zone::<Count>(loader, directive, PURPOSE, |_| Ok(false), || ())
}

fn limit(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let [name, number] = &*directive.args else { return Err("invalid value".into()) };
    let counts = limits::Limiting::named(loader, &name.text, name.span, PURPOSE)?;
    let limits = &loader.settings(&SETTINGS).limits;
    if limits.iter().any(|limit: &Limit| limit.counts.is_same(&counts)) {
        return Err("is duplicate".into());
    }
    let most = units::integer(&number.text).filter(|most| *most > 0).ok_or_else(|| {
        Fault::from(format!("invalid number of connections \"{number}\"")).at(number.span)
    })?;
    let most = u16::try_from(most).map_err(|_| {
        Fault::from("connection limit must be less 65536".to_owned()).at(number.span)
    })?;
    loader.settings(&SETTINGS).limits.modify().push(Limit { counts, most });
    Ok(())
}
