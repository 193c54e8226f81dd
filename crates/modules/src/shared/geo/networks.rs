//! Networks with values, of which the smallest that holds an address counts.

use std::collections::BTreeMap;

use daemun_core::cidr::Cidr;

use super::steps::Steps;
use super::{EMPTY, ValueId};

/// Networks by their first address, larger ones first.
#[derive(Default)]
pub(super) struct Networks {
    v4: BTreeMap<(u32, u32), ValueId>,
    v6: BTreeMap<(u128, u128), ValueId>,
}

/// What `default` stands for.
pub(super) const EVERYTHING: [Cidr; 2] =
    [Cidr::V4 { network: 0, mask: 0 }, Cidr::V6 { network: 0, mask: 0 }];

impl Networks {
    /// The value that the network had.
    pub fn add(&mut self, network: Cidr, value: ValueId) -> Option<ValueId> {
        match network {
            Cidr::V4 { network, mask } => self.v4.insert((network, mask), value),
            Cidr::V6 { network, mask } => self.v6.insert((network, mask), value),
            Cidr::Unix => None,
        }
    }

    /// `false` where there is no such network.
    pub fn delete(&mut self, network: Cidr) -> bool {
        match network {
            Cidr::V4 { network, mask } => self.v4.remove(&(network, mask)).is_some(),
            Cidr::V6 { network, mask } => self.v6.remove(&(network, mask)).is_some(),
            Cidr::Unix => false,
        }
    }

    pub fn into_steps(self) -> (Steps<u32>, Steps<u128>) {
        let v4 = self.v4.into_iter().map(|((start, mask), value)| (start, start | !mask, value));
        let v6 = self.v6.into_iter().map(|((start, mask), value)| (start, start | !mask, value));
        (flatten(v4, |end| end.checked_add(1)), flatten(v6, |end| end.checked_add(1)))
    }
}

/// Lays networks, each after those that hold it, side by side.
fn flatten<K: Copy + Ord + Default>(
    networks: impl Iterator<Item = (K, K, ValueId)>,
    after: impl Fn(K) -> Option<K>,
) -> Steps<K> {
    let mut steps = Steps::new();
    let mut open: Vec<(K, ValueId)> = Vec::new();
    let close = |steps: &mut Steps<K>, open: &mut Vec<(K, ValueId)>| {
        let Some((end, _)) = open.pop() else { return };
        let outer = open.last().map_or(EMPTY, |(_, value)| *value);
        if let Some(next) = after(end) {
            steps.begin(next, outer);
        }
    };
    for (start, end, value) in networks {
        while open.last().is_some_and(|(end, _)| *end < start) {
            close(&mut steps, &mut open);
        }
        steps.begin(start, value);
        open.push((end, value));
    }
    while !open.is_empty() {
        close(&mut steps, &mut open);
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_smallest_network_counts() {
        let mut networks = Networks::default();
        for (text, value) in [
            ("0.0.0.0/0", 1),
            ("10.0.0.0/8", 2),
            ("10.1.0.0/16", 3),
            ("10.1.255.255/32", 4),
            ("10.2.0.0/16", 5),
            ("255.0.0.0/8", 6),
            ("192.0.2.0/24", 7),
        ] {
            assert_eq!(networks.add(Cidr::parse(text.as_bytes()).unwrap().0, value), None);
        }
        assert!(networks.delete(Cidr::parse(b"192.0.2.0/24").unwrap().0));
        let (v4, v6) = networks.into_steps();
        for (address, value) in [
            ("0.0.0.0", 1),
            ("10.0.0.0", 2),
            ("10.1.0.0", 3),
            ("10.1.255.254", 3),
            ("10.1.255.255", 4),
            ("10.2.0.0", 5),
            ("10.3.0.0", 2),
            ("11.0.0.0", 1),
            ("192.0.2.1", 1),
            ("255.255.255.255", 6),
        ] {
            let ip: Ipv4Addr = address.parse().unwrap();
            assert_eq!(v4.find(ip.to_bits()), value, "{address}");
        }
        assert_eq!(v6.find(1), EMPTY);
    }
}
