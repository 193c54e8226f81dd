//! The peer that is likely to be done first: how long it has been taking, times what it has to do.

use crate::balance::{Tried, least_conn};
use crate::definition::{LeastTime, Until};
use crate::members::{Member, Tier};
use crate::state::{Now, PeerState, average};

/// Milliseconds: peers that are slower than this are equally bad.
const WORST: i64 = 5000;

/// Milliseconds: times that are this close to each other count as the same.
const STEP: i64 = 20;

pub(crate) fn choose(
    tier: &Tier,
    tried: &Tried,
    bound: Option<usize>,
    until: Until,
    now: Now,
) -> Option<usize> {
    if bound.is_some() {
        return bound;
    }
    for place in tried.open(tier, now) {
        note_waiting(tier.members[place].state(), now);
    }
    least_conn::least(tier, tried, now, |place| estimate(&tier.members[place], until, now))
}

/// Milliseconds until the peer would have done another request.
pub(super) fn estimate(member: &Member, until: Until, now: Now) -> i64 {
    let state = member.state();
    let mut time = match until {
        Until::Header => state.header_time.get(),
        Until::LastByte => state.response_time.get(),
    };
    let rested = now.seconds - state.checked.get();
    if rested > member.fail_timeout {
        // a slow peer gets its chance again: half the time after each fail_timeout
        let halvings = rested / (member.fail_timeout.saturating_add(1));
        time >>= halvings.min(63);
    }
    if state.inflight.get() > 0 {
        time = time.max(state.inflight_time.get());
    }
    let time = if time > WORST { WORST } else { time + STEP - time % STEP };
    time * (1 + state.conns.get())
}

/// What a request that has not been answered yet says about its peer.
fn note_waiting(state: &PeerState, now: Now) {
    let number = state.inflight.get();
    if number > 0 {
        let waited = state.inflight_sum.get() / number;
        average(&state.inflight_time, waited + now.millis - state.inflight_changed.get());
    }
}

/// A request has gone to the peer.
pub(crate) fn begin(state: &PeerState, now: Now) {
    let number = state.inflight.get();
    if number > 0 {
        state.inflight_sum.add((now.millis - state.inflight_changed.get()) * number);
    }
    state.inflight_changed.set(now.millis);
    state.inflight.add(1);
}

/// A request that went to the peer has been answered after `took` milliseconds, or given up.
pub(crate) fn end(state: &PeerState, took: i64, now: Now) {
    let number = state.inflight.get();
    if number == 1 {
        state.inflight_sum.set(0);
    } else {
        state.inflight_sum.add((now.millis - state.inflight_changed.get()) * number - took);
        state.inflight_changed.set(now.millis);
    }
    state.inflight.add(-1);
}

/// The head of a response came after so many milliseconds.
pub(crate) fn note_head(state: &PeerState, how: LeastTime, took: i64) {
    // what no choice depends on yet is noted once the request has ended well
    if how.inflight && how.until == Until::Header {
        average(&state.header_time, took);
    }
}

/// A response was complete after so many milliseconds, its head after `head`.
pub(crate) fn note_response(state: &PeerState, how: LeastTime, head: i64, took: i64) {
    average(&state.response_time, took);
    if !(how.inflight && how.until == Until::Header) {
        average(&state.header_time, head);
    }
}
