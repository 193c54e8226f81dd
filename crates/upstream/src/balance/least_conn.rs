//! The peer with the fewest connections for its weight; where several have as few, they take turns.

use crate::balance::{Tried, round_robin};
use crate::members::Tier;
use crate::state::Now;

pub(crate) fn choose(tier: &Tier, tried: &Tried, bound: Option<usize>, now: Now) -> Option<usize> {
    bound.or_else(|| least(tier, tried, now, |place| tier.members[place].state().conns.get()))
}

/// The open peer whose `burden` is least for its weight.
pub(super) fn least(
    tier: &Tier,
    tried: &Tried,
    now: Now,
    burden: impl Fn(usize) -> i64,
) -> Option<usize> {
    let weight = |place: usize| tier.members[place].weight_at(now);
    let mut best: Option<(usize, i64)> = None;
    let mut others = false;
    for place in tried.open(tier, now) {
        let burden = burden(place);
        let order = best.map(|(best, least)| (burden * weight(best)).cmp(&(least * weight(place))));
        match order {
            None | Some(std::cmp::Ordering::Less) => {
                (best, others) = (Some((place, burden)), false)
            }
            Some(std::cmp::Ordering::Equal) => others = true,
            Some(std::cmp::Ordering::Greater) => {}
        }
    }
    let (best, least) = best?;
    if !others {
        return Some(best);
    }
    let equals = tried
        .open(tier, now)
        .filter(|place| *place >= best && burden(*place) * weight(best) == least * weight(*place));
    round_robin::turn(tier, equals, None, now)
}
