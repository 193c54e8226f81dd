//! `limit_req`: so many requests a second of one client, or of whatever else a key tells apart.
//!
//! ```nginx
//! limit_req_zone $binary_remote_addr zone=clients:10m rate=10r/s;
//! server {
//!     location /search/ {
//!         limit_req        zone=clients burst=20 delay=8;
//!         limit_req_status 429;
//!     }
//! }
//! ```

use std::time::Duration;

use daemun_conf as conf;
use daemun_conf::units;
use daemun_core::load::{Fault, Loader};
use daemun_core::log;
use daemun_core::log::{Level, Log};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::zones::Purpose;
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{Handler, HttpModule, Pending, Phase, PhaseHandler, Step, Variable};
use daemun_http::request::Request;
use daemun_http::status::Status;

use crate::shared::limits;
use crate::shared::limits::rate::Rate;
use crate::shared::limits::requests::{self, Limit, Verdict};

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
        name: "http_limit_req_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "limit_req_zone" in HTTP, Exactly(3), "", Action::Set(zone),
                "A key, the zone that counts by it, and how many requests may come in a time.";
            "limit_req" in HTTP_SERVER_LOCATION, Between(1, 3), "", Action::Set(limit),
                "Delays requests beyond a zone's rate, and refuses those beyond a burst.";
            "limit_req_dry_run" in HTTP_SERVER_LOCATION, Flag, "off",
                set!(SETTINGS.dry_run, values::flag),
                "Counts and logs what is too fast, and lets it pass.";
            "limit_req_log_level" in HTTP_SERVER_LOCATION, Exactly(1), "error",
                set!(SETTINGS.log_level, |directive| values::choice(directive, limits::LEVELS)),
                "The level at which refusals are logged; that a request waits is logged one lower.";
            "limit_req_status" in HTTP_SERVER_LOCATION, Exactly(1), "503",
                set!(SETTINGS.status, |directive| values::integer_in(directive, 400, 599)),
                "What a refused request is answered with.";
        },
    },
    variables: &[Variable::new("limit_req_status", |request, _, out| {
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

/// What states are for: they outlive their configuration.
const PURPOSE: Purpose = Purpose { user: "http_limit_req", fresh: false };

/// `$limit_req_status`: what became of the request at its first location with limits, for itself
/// and its subrequests.
#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Delayed,
    Rejected,
    DelayedDryRun,
    RejectedDryRun,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "PASSED",
            Outcome::Delayed => "DELAYED",
            Outcome::Rejected => "REJECTED",
            Outcome::DelayedDryRun => "DELAYED_DRY_RUN",
            Outcome::RejectedDryRun => "REJECTED_DRY_RUN",
        }
    }
}

fn outcome(request: &mut Request) -> Option<Outcome> {
    request.with_shared(&SETTINGS, |outcome: &mut Option<Outcome>| *outcome)
}

fn check(request: &mut Request) -> Step {
    if outcome(request).is_some() {
        return Step::Declined;
    }
    let settings = request.settings(&SETTINGS);
    let (log, now) = (request.log(), daemun_event::shared_now());
    let verdict = requests::judge(&settings.limits, now, request, log);
    let (outcome, step) = match verdict {
        Verdict::Unlimited => return Step::Declined,
        Verdict::Passed => (Outcome::Passed, Step::Declined),
        Verdict::Delayed { zone, excess, delay } => {
            tell_of_delay(request, settings, zone, excess);
            request.context::<Delay>(&SETTINGS).0 = Duration::from_millis(delay);
            match *settings.dry_run {
                true => (Outcome::DelayedDryRun, Step::Declined),
                false => (Outcome::Delayed, Step::Wait(wait)),
            }
        }
        Verdict::Refused { zone, excess } => {
            tell_of_refusal(request, settings, zone, excess);
            refuse(settings)
        }
        Verdict::NoRoom { zone } => {
            let log = Log::current();
            log!(log, Alert, (), "could not allocate node in limit_req zone \"{}\"", zone);
            refuse(settings)
        }
    };
    request.with_shared(&SETTINGS, |place: &mut Option<Outcome>| *place = Some(outcome));
    step
}

fn refuse(settings: &Settings) -> (Outcome, Step) {
    match *settings.dry_run {
        true => (Outcome::RejectedDryRun, Step::Declined),
        false => (Outcome::Rejected, Step::Status(Status(*settings.status as u16))),
    }
}

fn tell_of_refusal(request: &Request, settings: &Settings, zone: &str, excess: u64) {
    let (whole, rest) = (excess / 1000, excess % 1000);
    let dry_run = if *settings.dry_run { ", dry run" } else { "" };
    limits::tell(
        request.log(),
        *settings.log_level,
        request,
        format_args!("limiting requests{dry_run}, excess: {whole}.{rest:03} by zone \"{zone}\""),
    );
}

fn tell_of_delay(request: &Request, settings: &Settings, zone: &str, excess: u64) {
    let (whole, rest) = (excess / 1000, excess % 1000);
    let dry_run = if *settings.dry_run { ", dry run" } else { "" };
    limits::tell(
        request.log(),
        one_lower(*settings.log_level),
        request,
        format_args!("delaying request{dry_run}, excess: {whole}.{rest:03}, by zone \"{zone}\""),
    );
}

fn one_lower(level: Level) -> Level {
    match level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    }
}

/// How long the request has to wait.
#[derive(Default)]
struct Delay(Duration);

fn wait(request: &mut Request) -> Pending<'_> {
    Box::pin(async move {
        let delay = request.context::<Delay>(&SETTINGS).0;
        if !request.goes_within(delay).await {
            return Step::Declined;
        }
        log!(request.log(), Info, *request, "client prematurely closed connection");
        Step::Status(Status::CLIENT_CLOSED)
    })
}

fn zone(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let rate = std::cell::Cell::new(Rate::ONE);
    let read_rate = |word: &conf::Word| {
        let Some(text) = word.text.strip_prefix(b"rate=") else { return Ok(false) };
        let invalid = || Fault::from(format!("invalid rate \"{word}\"")).at(word.span);
        rate.set(Rate::parse(text).ok_or_else(invalid)?);
        Ok(true)
    };
    limits::read_zone::<requests::State>(loader, directive, PURPOSE, read_rate, || rate.get())
}

fn limit(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let (mut states, mut burst, mut delay) = (None, 0, 0);
    for word in &directive.args {
        if let Some(name) = word.text.strip_prefix(b"zone=") {
            states = Some(limits::Limiting::named(loader, name, word.span, PURPOSE)?);
        } else if let Some(number) = word.text.strip_prefix(b"burst=") {
            burst = thousandths(number, "burst", word)?;
        } else if let Some(number) = word.text.strip_prefix(b"delay=") {
            delay = thousandths(number, "delay", word)?;
        } else if word == "nodelay" {
            delay = u64::MAX;
        } else {
            return Err(limits::invalid_parameter(word));
        }
    }
    let states = states.ok_or_else(|| limits::needs_zone(directive))?;
    let limits = loader.settings(&SETTINGS).limits.modify();
    if limits.iter().any(|limit: &Limit| limit.states.is_same(&states)) {
        return Err("is duplicate".into());
    }
    limits.push(Limit { states, burst, delay });
    Ok(())
}

/// So many requests.
fn thousandths(text: &[u8], name: &str, word: &conf::Word) -> Result<u64, Fault> {
    let number = units::integer(text).filter(|number| *number > 0);
    let number = number.and_then(|number| u64::try_from(number).ok());
    let invalid = || Fault::from(format!("invalid {name} value \"{word}\"")).at(word.span);
    Ok(number.ok_or_else(invalid)?.saturating_mul(1000))
}
