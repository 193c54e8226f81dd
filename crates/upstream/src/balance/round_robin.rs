//! Smooth weighted round robin: each peer's turn comes nearer by its weight, and the nearest goes next.

use crate::balance::Tried;
use crate::members::Tier;
use crate::state::Now;

/// The place of the next peer. `bound` is the peer that a session belongs to, which comes first and uses its turns up.
pub(crate) fn choose(tier: &Tier, tried: &Tried, bound: Option<usize>, now: Now) -> Option<usize> {
    if let Some(place) = bound {
        let member = &tier.members[place];
        let limit = -(tier.total_weight - member.weight);
        if member.state().current_weight.get() <= limit {
            return bound;
        }
    }
    let open = tried.open(tier, now);
    turn(tier, open, bound, now)
}

/// Lets the turns of `places` come nearer, and takes the nearest, or `bound`.
pub(super) fn turn(
    tier: &Tier,
    places: impl Iterator<Item = usize>,
    bound: Option<usize>,
    now: Now,
) -> Option<usize> {
    let (mut best, mut best_weight, mut total) = (None, 0, 0);
    for place in places {
        let member = &tier.members[place];
        total += member.advance(now);
        let weight = member.state().current_weight.get();
        if best.is_none() || weight > best_weight {
            (best, best_weight) = (Some(place), weight);
        }
    }
    let best = bound.or(best)?;
    tier.members[best].state().current_weight.add(-total);
    Some(best)
}
