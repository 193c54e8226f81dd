//! Ranges of IPv4 addresses with values. A range may lie in another one, which it then cuts; it may not overlap it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use daemun_conf as conf;
use daemun_core::address;
use daemun_core::load::Fault;

use super::ValueId;
use super::steps::Steps;

/// Pieces by the upper half of their addresses, sorted. Each range is cut at every 65,536 addresses, and what
/// overlaps is judged piece by piece, as in nginx.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<u16, Vec<Piece>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: u16,
    end: u16,
    value: ValueId,
}

/// First and last address.
pub(super) type Range = (u32, u32);

/// Reads `10.0.0.0-10.0.0.255`.
pub(super) fn parse(word: &conf::Word) -> Result<Range, Fault> {
    let address = |text: &str| {
        let ip = address::v4(text)?;
        // nginx takes it for no address.
        (ip != Ipv4Addr::BROADCAST).then(|| ip.to_bits())
    };
    let range = word.as_str().ok().and_then(|text| {
        let (start, end) = text.split_once('-')?;
        Some((address(start)?, address(end)?)).filter(|(start, end)| start <= end)
    });
    range.ok_or_else(|| Fault::from(format!("invalid range \"{word}\"")).at(word.span))
}

impl Ranges {
    /// The values that pieces of exactly this range had; an error is the range that overlaps.
    pub fn add(&mut self, range: Range, value: ValueId) -> Result<Vec<ValueId>, String> {
        let mut olds = Vec::new();
        for (high, start, end) in pieces(range) {
            let block = self.0.entry(high).or_default();
            olds.extend(insert(block, Piece { start, end, value }).map_err(|overlap| {
                let [a, b] = high.to_be_bytes();
                let text = |low: u16| Ipv4Addr::from([a, b, (low >> 8) as u8, low as u8]);
                format!("{}-{}", text(overlap.start), text(overlap.end))
            })?);
        }
        Ok(olds)
    }

    /// `false` where a part of it is no range.
    pub fn delete(&mut self, range: Range) -> bool {
        let mut is_whole = true;
        for (high, start, end) in pieces(range) {
            let block = self.0.entry(high).or_default();
            let found = block.iter().position(|piece| (piece.start, piece.end) == (start, end));
            match found {
                Some(at) => drop(block.remove(at)),
                None => is_whole = false,
            }
        }
        is_whole
    }

    pub fn into_steps(self, default: ValueId) -> Steps<u32> {
        let mut steps = Steps::new();
        steps.begin(0, default);
        for (high, block) in self.0 {
            let high = u32::from(high) << 16;
            for Piece { start, end, value } in block {
                steps.begin(high + u32::from(start), value);
                if let Some(next) = (high + u32::from(end)).checked_add(1) {
                    steps.begin(next, default);
                }
            }
        }
        steps
    }
}

/// The upper half, and first and last lower half, of each piece.
fn pieces((start, end): Range) -> impl Iterator<Item = (u16, u16, u16)> {
    (start >> 16..=end >> 16).map(move |high| {
        let first = if high == start >> 16 { start as u16 } else { 0 };
        let last = if high == end >> 16 { end as u16 } else { u16::MAX };
        (high as u16, first, last)
    })
}

/// The value of a piece with the same bounds, which is replaced; an error is the piece that overlaps.
fn insert(block: &mut Vec<Piece>, new: Piece) -> Result<Option<ValueId>, Piece> {
    let at = block.partition_point(|piece| piece.end < new.start);
    let Some(&old) = block.get(at).filter(|old| old.start <= new.end) else {
        block.insert(at, new);
        return Ok(None);
    };
    // nginx looks at the last one first.
    let last = block.iter().rev().find(|piece| piece.start <= new.end).copied().unwrap_or(old);
    if last != old || new.start < old.start || new.end > old.end {
        return Err(last);
    }
    if (old.start, old.end) == (new.start, new.end) {
        block[at] = new;
        return Ok(Some(old.value));
    }
    let before = (old.start < new.start).then(|| Piece { end: new.start - 1, ..old });
    let behind = (new.end < old.end).then(|| Piece { start: new.end + 1, ..old });
    block.splice(at..=at, before.into_iter().chain([new]).chain(behind));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: [u8; 4], end: [u8; 4]) -> Range {
        (u32::from_be_bytes(start), u32::from_be_bytes(end))
    }

    #[test]
    fn ranges_in_ranges_cut_them() {
        let mut ranges = Ranges::default();
        for (start, end, value) in [
            ([10, 0, 0, 0], [10, 2, 0, 255], 2),
            ([10, 0, 0, 0], [10, 0, 0, 9], 3),
            ([10, 1, 0, 5], [10, 1, 0, 6], 4),
            ([10, 2, 0, 250], [10, 2, 0, 255], 5),
        ] {
            assert_eq!(ranges.add(range(start, end), value), Ok(Vec::new()));
        }
        let twice = ranges.add(range([10, 1, 0, 5], [10, 1, 0, 6]), 6);
        assert_eq!(twice, Ok(vec![4]));
        let steps = ranges.into_steps(1);
        for (address, value) in [
            ([9, 255, 255, 255], 1),
            ([10, 0, 0, 0], 3),
            ([10, 0, 0, 10], 2),
            ([10, 1, 0, 4], 2),
            ([10, 1, 0, 6], 6),
            ([10, 1, 0, 7], 2),
            ([10, 2, 0, 255], 5),
            ([10, 2, 1, 0], 1),
        ] {
            assert_eq!(steps.find(u32::from_be_bytes(address)), value, "{address:?}");
        }
    }

    #[test]
    fn overlaps_are_refused_and_what_is_not_there_is_not_deleted() {
        let mut ranges = Ranges::default();
        ranges.add(range([10, 0, 0, 10], [10, 0, 0, 20]), 1).unwrap();
        let overlap = ranges.add(range([10, 0, 0, 15], [10, 0, 0, 25]), 2);
        assert_eq!(overlap, Err("10.0.0.10-10.0.0.20".to_owned()));
        assert!(!ranges.delete(range([10, 0, 0, 10], [10, 0, 0, 19])));
        assert!(ranges.delete(range([10, 0, 0, 10], [10, 0, 0, 20])));
    }
}
