//! `status_zone` of `resolver`: what was asked, and what came of it, counted by all processes together.

use daemun_conf as conf;
use daemun_core::load::{Fault, Loader};
use daemun_core::zones::{self, Purpose, ZoneRef};
use daemun_proto::dns;
use daemun_shm::{Handle, Number, Zone};

use crate::cache::Subject;
use crate::lookup::LookupError;

const PURPOSE: Purpose = Purpose { user: "resolver", fresh: false };

/// What is counted, in the order and the words of nginx's API: requests first.
const COUNTERS: [&str; 11] = [
    "name", "srv", "addr", "noerror", "formerr", "servfail", "nxdomain", "notimp", "refused",
    "timedout", "unknown",
];
const REQUESTS: usize = 3;
const TIMED_OUT: usize = 9;
const UNKNOWN: usize = 10;

/// A zone's name, and its counters.
#[derive(Clone, Debug)]
pub struct StatusZone {
    name: String,
    zone: ZoneRef,
}

/// The counters of a zone at one moment. Questions are counted, not what is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; COUNTERS.len()]);

/// The zones that the configuration names.
#[derive(Default)]
struct Named(Vec<StatusZone>);

/// The zones of all resolvers that have been read.
pub fn status_zones(loader: &mut Loader<'_>) -> Vec<StatusZone> {
    std::mem::take(&mut loader.notes::<Named>().0)
}

impl StatusZone {
    /// The zone of that name. Its memory has nothing to do with that of other directives' zones.
    pub(crate) fn declare(
        loader: &mut Loader<'_>,
        name: &str,
        span: conf::Span,
    ) -> Result<StatusZone, Fault> {
        let zone =
            zones::declare(loader, &format!("resolver {name}"), span, Some(Zone::LEAST), PURPOSE)?;
        let status = StatusZone { name: name.to_owned(), zone };
        let named = &mut loader.notes::<Named>().0;
        if named.iter().all(|known| known.name != name) {
            named.push(status.clone());
        }
        Ok(status)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts([0; COUNTERS.len()]);
        if let Some(zone) = self.zone.zone()
            && let Some(numbers) = Handle::of(zone.root())
        {
            for (count, number) in counts.0.iter_mut().zip(zone.slice(numbers, COUNTERS.len())) {
                *count = u64::try_from(Number::get(number)).unwrap_or(0);
            }
        }
        counts
    }

    pub(crate) fn count_request(&self, subject: Subject) {
        self.count(match subject {
            Subject::Addresses => 0,
            Subject::Services => 1,
        });
    }

    pub(crate) fn count_response(&self, outcome: Result<(), LookupError>) {
        self.count(match outcome {
            Ok(()) => REQUESTS,
            Err(LookupError::Code(code @ dns::FORMAT_ERROR..=dns::REFUSED)) => {
                REQUESTS + usize::from(code)
            }
            Err(LookupError::Code(_)) => UNKNOWN,
            Err(LookupError::TimedOut) => TIMED_OUT,
        });
    }

    fn count(&self, counter: usize) {
        let Some(zone) = self.zone.zone() else { return };
        let locked = zone.lock();
        let Some(numbers) = Handle::of(zone.root()).or_else(|| {
            let numbers = locked.allocate_slice::<Number>(COUNTERS.len())?;
            zone.root().set(numbers.number());
            Some(numbers)
        }) else {
            return;
        };
        zone.slice(numbers, COUNTERS.len())[counter].add(1);
    }
}

impl Counts {
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.named().take(REQUESTS)
    }

    pub fn responses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.named().skip(REQUESTS)
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        COUNTERS.into_iter().zip(self.0)
    }
}
