//! `hash … consistent`: each peer has 160 points on a circle for its weight, and a key belongs to the first point
//! behind its own. Where a peer comes or goes, few keys move. The points are those of Cache::Memcached::Fast.

use std::sync::Arc;

use crate::balance::{ATTEMPTS, TakeTurns, Tried, round_robin};
use crate::members::{Members, Tier};
use crate::state::Now;

/// Points for each unit of weight.
const POINTS: i64 = 160;

/// The circle: hashes in order, each with the line `server` that it belongs to.
#[derive(Debug)]
pub(crate) struct Ring(Vec<(u32, Arc<str>)>);

impl Ring {
    pub fn new(tier: &Tier) -> Ring {
        let mut points = Vec::new();
        for member in &tier.members {
            let (host, port) = split(&member.server);
            let mut base = crc32fast::Hasher::new();
            base.update(host);
            base.update(b"\0");
            base.update(port);
            let mut hash = 0u32;
            for _ in 0..member.weight * POINTS {
                let mut hasher = base.clone();
                hasher.update(&hash.to_le_bytes());
                hash = hasher.finalize();
                points.push((hash, Arc::clone(&member.server)));
            }
        }
        points.sort_by_key(|(hash, _)| *hash);
        points.dedup_by_key(|(hash, _)| *hash);
        Ring(points)
    }

    /// The first point at or behind the hash; one behind the last is the first again.
    fn find(&self, hash: u32) -> usize {
        self.0.partition_point(|(point, _)| *point < hash)
    }

    fn server(&self, point: usize) -> Option<&str> {
        let (_, server) = self.0.get(point % self.0.len().max(1))?;
        Some(server)
    }
}

/// Host and port of a line as it is written. A name that ends in digits after its last colon has a port.
fn split(server: &str) -> (&[u8], &[u8]) {
    if let Some((scheme, path)) = server.split_at_checked(5)
        && scheme.eq_ignore_ascii_case("unix:")
    {
        return (path.as_bytes(), b"");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host.as_bytes(), port.as_bytes())
        }
        _ => (server.as_bytes(), b""),
    }
}

/// A request's way around the circle.
#[derive(Debug)]
pub(crate) struct Walk {
    has_key: bool,
    point: usize,
    attempts: u32,
}

impl Walk {
    pub fn new(members: &Members, key: &[u8]) -> Walk {
        let ring = members.ring.get_or_init(|| Ring::new(&members.primary));
        let point = ring.find(crc32fast::hash(key));
        Walk { has_key: !key.is_empty(), point, attempts: 0 }
    }

    /// `Err`: they are to take turns.
    pub(super) fn choose(
        &mut self,
        members: &Members,
        tier: &Tier,
        tried: &Tried,
        bound: Option<usize>,
        now: Now,
    ) -> Result<usize, TakeTurns> {
        if self.attempts > ATTEMPTS || members.is_single || !self.has_key {
            return Err(TakeTurns);
        }
        if let Some(place) = bound {
            return Ok(place);
        }
        let ring = members.ring.get_or_init(|| Ring::new(&members.primary));
        loop {
            let server = ring.server(self.point).ok_or(TakeTurns)?;
            let its = tried.open(tier, now).filter(|place| *tier.members[*place].server == *server);
            if let Some(place) = round_robin::turn(tier, its, None, now) {
                return Ok(place);
            }
            self.point += 1;
            self.attempts += 1;
            if self.attempts > ATTEMPTS {
                return Err(TakeTurns);
            }
        }
    }
}
