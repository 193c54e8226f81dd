//! A track of a video: tables of its samples, cut to those that are wanted.

use std::ops::Range;

use super::atoms::{self, Atom, Cut, atoms, duration, push, set_duration, word};

/// What is left of a track.
pub(super) struct Track<'a> {
    /// `tkhd`, with its new duration.
    header: Vec<u8>,
    /// Skipped by the player, for a track that begins with a key frame: its duration, and what goes before.
    edit: Option<(u64, u64)>,
    media_header: Vec<u8>,
    handler: Option<&'a [u8]>,
    /// `vmhd`, `smhd`, `dinf` and the like, as they are.
    media: Vec<Atom<'a>>,
    descriptions: &'a [u8],
    samples: Samples,
    /// Where in the file its samples are; `None` where none are left.
    pub data: Option<Range<u64>>,
}

/// The tables, sample by sample.
struct Samples {
    durations: Vec<u32>,
    /// How much later than decoded a sample is shown, with the version of the table.
    delays: Option<(u8, Vec<u32>)>,
    /// The numbers of key frames, from 1; `None`: every one is.
    keys: Option<Vec<u32>>,
    /// One for all of them, or one each.
    sizes: Vec<u32>,
    uniform_size: u32,
    chunks: Vec<Chunk>,
    is_long: bool,
}

#[derive(Clone, Copy)]
struct Chunk {
    offset: u64,
    samples: u32,
    description: u32,
}

/// A duration less what is cut off.
pub(super) fn trimmed(whole: u64, timescale: u32, cut: &Cut) -> u64 {
    let units = |milliseconds: u64| milliseconds.saturating_mul(u64::from(timescale)) / 1000;
    let left = whole.saturating_sub(units(cut.start));
    cut.length.map_or(left, |length| units(length).min(left))
}

fn find<'a>(list: &[Atom<'a>], name: &[u8; 4]) -> Result<&'a [u8], String> {
    let found = list.iter().find(|atom| &atom.name == name);
    let name = String::from_utf8_lossy(name);
    found.map(|atom| atom.content).ok_or_else(|| format!("no mp4 {name} atoms were found"))
}

impl<'a> Track<'a> {
    /// Cuts a track; durations in its header are in units of the movie's timescale.
    pub fn trim(content: &'a [u8], movie_timescale: u32, cut: &Cut) -> Result<Track<'a>, String> {
        let parts = atoms(content)?;
        let mut header = find(&parts, b"tkhd")?.to_vec();
        let media = atoms(find(&parts, b"mdia")?)?;
        let mut media_header = find(&media, b"mdhd")?.to_vec();
        let information = atoms(find(&media, b"minf")?)?;
        let tables = atoms(find(&information, b"stbl")?)?;
        let is_long = media_header.first() == Some(&1);
        let timescale = word(&media_header, if is_long { 20 } else { 12 })?;

        let mut samples = Samples::read(&tables)?;
        let (range, before) = samples.wanted(timescale, cut);
        let data = samples.cut(&range)?;

        let shown = trimmed(duration(&header, 20, 28)?, movie_timescale, cut);
        set_duration(&mut header, 20, 28, shown)?;
        let played = trimmed(duration(&media_header, 16, 24)?, timescale, cut);
        set_duration(&mut media_header, 16, 24, played + before)?;
        let kept = |atom: &Atom<'_>| &atom.name != b"stbl";
        Ok(Track {
            header,
            edit: (before > 0).then_some((shown, before)),
            media_header,
            handler: find(&media, b"hdlr").ok(),
            media: information.into_iter().filter(kept).collect(),
            descriptions: find(&tables, b"stsd")?,
            samples,
            data,
        })
    }

    /// The content of its atom, with offsets that are moved.
    pub fn content(&self, shift: i128) -> Result<Vec<u8>, String> {
        let mut tables = Vec::new();
        push(&mut tables, b"stsd", self.descriptions);
        self.samples.write(shift, &mut tables)?;
        let mut information = Vec::new();
        for atom in &self.media {
            push(&mut information, &atom.name, atom.content);
        }
        push(&mut information, b"stbl", &tables);
        let mut media = Vec::new();
        push(&mut media, b"mdhd", &self.media_header);
        if let Some(handler) = self.handler {
            push(&mut media, b"hdlr", handler);
        }
        push(&mut media, b"minf", &information);
        let mut out = Vec::new();
        push(&mut out, b"tkhd", &self.header);
        if let Some((shown, before)) = self.edit {
            // Version 1, one entry, at normal speed.
            let mut list = vec![1, 0, 0, 0, 0, 0, 0, 1];
            list.extend_from_slice(&shown.to_be_bytes());
            list.extend_from_slice(&before.to_be_bytes());
            list.extend_from_slice(&[0, 1, 0, 0]);
            let mut edits = Vec::new();
            push(&mut edits, b"elst", &list);
            push(&mut out, b"edts", &edits);
        }
        push(&mut out, b"mdia", &media);
        Ok(out)
    }
}

/// How many samples a track may have: each takes some bytes of memory.
const MOST: usize = 10_000_000;

/// A table of counts and values, a value for each.
fn expand(table: &[u8]) -> Result<Vec<u32>, String> {
    let mut values = Vec::new();
    for row in 0..word(table, 4)? as usize {
        let count = word(table, 8 + 8 * row)? as usize;
        if values.len() + count > MOST {
            return Err("too many mp4 samples".to_owned());
        }
        values.resize(values.len() + count, word(table, 12 + 8 * row)?);
    }
    Ok(values)
}

/// The reverse.
fn condense(version: u8, values: &[u32]) -> Vec<u8> {
    let rows: Vec<(u32, u32)> =
        values.chunk_by(|one, next| one == next).map(|run| (run.len() as u32, run[0])).collect();
    let numbers = rows.into_iter().flat_map(|(count, value)| [count, value]).collect::<Vec<_>>();
    table(version, numbers.len() as u32 / 2, &numbers)
}

/// Version, flags, number of rows, rows.
fn table(version: u8, rows: u32, numbers: &[u32]) -> Vec<u8> {
    let mut out = vec![version, 0, 0, 0];
    out.extend_from_slice(&rows.to_be_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
    out
}

impl Samples {
    fn read(tables: &[Atom<'_>]) -> Result<Samples, String> {
        let durations = expand(find(tables, b"stts")?)?;
        let delays = match find(tables, b"ctts") {
            Ok(table) => Some((table.first().copied().unwrap_or(0), expand(table)?)),
            Err(_) => None,
        };
        let keys = match find(tables, b"stss") {
            Ok(table) => {
                let rows = word(table, 4)? as usize;
                Some((0..rows).map(|row| word(table, 8 + 4 * row)).collect::<Result<_, _>>()?)
            }
            Err(_) => None,
        };
        let sizes = find(tables, b"stsz")?;
        let (uniform_size, count) = (word(sizes, 4)?, word(sizes, 8)? as usize);
        if count > MOST {
            return Err("too many mp4 samples".to_owned());
        }
        let sizes = match uniform_size {
            0 => (0..count).map(|row| word(sizes, 12 + 4 * row)).collect::<Result<_, _>>()?,
            size => vec![size; count],
        };
        let (offsets, is_long) = match find(tables, b"co64") {
            Ok(table) => (offsets(table, 8)?, true),
            Err(_) => (offsets(find(tables, b"stco")?, 4)?, false),
        };
        let chunks = chunks(find(tables, b"stsc")?, &offsets)?;
        Ok(Samples { durations, delays, keys, sizes, uniform_size, chunks, is_long })
    }

    /// The samples that are wanted, and how much time before the start they begin.
    fn wanted(&self, timescale: u32, cut: &Cut) -> (Range<usize>, u64) {
        let units = |milliseconds: u64| milliseconds.saturating_mul(u64::from(timescale)) / 1000;
        let start = self.at_time(0, units(cut.start));
        let end = match cut.length {
            Some(length) => self.at_time(start, units(length)),
            None => self.durations.len(),
        };
        let first = match (&self.keys, cut.with_key_frame) {
            (Some(keys), true) => {
                // Numbers of samples begin with 1.
                let before = keys.iter().copied().filter(|key| *key as usize <= start + 1);
                before.max().map_or(start, |key| (key as usize).saturating_sub(1))
            }
            _ => start,
        };
        let before = self.durations[first..start].iter().map(|time| u64::from(*time)).sum();
        (first..end, before)
    }

    /// The sample that plays so long after the beginning of another.
    fn at_time(&self, from: usize, time: u64) -> usize {
        let mut left = time;
        let passed = self.durations[from..].iter().take_while(|duration| {
            let duration = u64::from(**duration);
            let has_passed = left >= duration && left > 0;
            left = left.saturating_sub(duration);
            has_passed
        });
        from + passed.count()
    }

    /// Leaves the samples of a range; where they are in the file.
    fn cut(&mut self, range: &Range<usize>) -> Result<Option<Range<u64>>, String> {
        if range.end > self.sizes.len() {
            return Err("mp4 stsz atom has fewer samples than stts".to_owned());
        }
        let mut left = Vec::new();
        let mut first = 0;
        for chunk in &self.chunks {
            let next = first + chunk.samples as usize;
            let kept = range.start.max(first)..range.end.min(next).min(self.sizes.len());
            if kept.start < kept.end {
                let skipped: u64 =
                    self.sizes[first..kept.start].iter().map(|size| u64::from(*size)).sum();
                left.push(Chunk {
                    offset: chunk.offset.saturating_add(skipped),
                    samples: (kept.end - kept.start) as u32,
                    description: chunk.description,
                });
            }
            first = next;
        }
        self.chunks = left;
        self.durations = self.durations[range.clone()].to_vec();
        self.sizes = self.sizes[range.clone()].to_vec();
        if let Some((_, delays)) = &mut self.delays {
            *delays =
                delays.get(range.clone()).ok_or("mp4 ctts atom has too few samples")?.to_vec();
        }
        if let Some(keys) = &mut self.keys {
            let inside = |key: &u32| range.contains(&(*key as usize).wrapping_sub(1));
            *keys =
                keys.iter().filter(|key| inside(key)).map(|key| key - range.start as u32).collect();
        }
        Ok(self.place())
    }

    fn place(&self) -> Option<Range<u64>> {
        let start = self.chunks.iter().map(|chunk| chunk.offset).min()?;
        let mut first = 0;
        let ends = self.chunks.iter().map(|chunk| {
            let sizes = &self.sizes[first..first + chunk.samples as usize];
            first += chunk.samples as usize;
            chunk.offset.saturating_add(sizes.iter().map(|size| u64::from(*size)).sum())
        });
        Some(start..ends.max()?)
    }

    fn write(&self, shift: i128, out: &mut Vec<u8>) -> Result<(), String> {
        push(out, b"stts", &condense(0, &self.durations));
        if let Some(keys) = &self.keys {
            push(out, b"stss", &table(0, keys.len() as u32, keys));
        }
        if let Some((version, delays)) = &self.delays {
            push(out, b"ctts", &condense(*version, delays));
        }
        let mut rows: Vec<u32> = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            if rows.len() < 3 || rows[rows.len() - 2..] != [chunk.samples, chunk.description] {
                rows.extend([index as u32 + 1, chunk.samples, chunk.description]);
            }
        }
        push(out, b"stsc", &table(0, rows.len() as u32 / 3, &rows));
        let mut sizes = table(0, self.uniform_size, &[self.sizes.len() as u32]);
        if self.uniform_size == 0 {
            self.sizes.iter().for_each(|size| sizes.extend_from_slice(&size.to_be_bytes()));
        }
        push(out, b"stsz", &sizes);
        let mut offsets = table(0, self.chunks.len() as u32, &[]);
        for chunk in &self.chunks {
            let offset = u64::try_from(i128::from(chunk.offset) + shift)
                .map_err(|_| "mp4 chunk offset is out of the file")?;
            if self.is_long {
                offsets.extend_from_slice(&offset.to_be_bytes());
            } else {
                let offset = u32::try_from(offset).map_err(|_| "mp4 stco entry is too large")?;
                offsets.extend_from_slice(&offset.to_be_bytes());
            }
        }
        push(out, if self.is_long { b"co64" } else { b"stco" }, &offsets);
        Ok(())
    }
}

fn offsets(table: &[u8], width: usize) -> Result<Vec<u64>, String> {
    let rows = atoms::word(table, 4)? as usize;
    let rows = table.get(8..).unwrap_or_default().chunks_exact(width).take(rows);
    Ok(rows.map(|row| row.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))).collect())
}

/// How many samples each chunk has.
fn chunks(table: &[u8], offsets: &[u64]) -> Result<Vec<Chunk>, String> {
    let rows = word(table, 4)? as usize;
    let row = |row: usize| -> Result<[u32; 3], String> {
        let at = 8 + 12 * row;
        Ok([word(table, at)?, word(table, at + 4)?, word(table, at + 8)?])
    };
    let mut chunks = Vec::with_capacity(offsets.len());
    let mut current = 0;
    for (index, offset) in offsets.iter().enumerate() {
        if current + 1 < rows && row(current + 1)?[0] as usize <= index + 1 {
            current += 1;
        }
        let [_, samples, description] = row(current)?;
        chunks.push(Chunk { offset: *offset, samples, description });
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten samples of 100 units, each one byte longer than the one before, in chunks of three; every fourth is a key.
    fn samples() -> Samples {
        let sizes: Vec<u32> = (10..20).collect();
        let chunk = |first: usize, samples| Chunk {
            offset: 1000 + sizes[..first].iter().map(|size| u64::from(*size)).sum::<u64>(),
            samples,
            description: 1,
        };
        Samples {
            durations: vec![100; 10],
            delays: None,
            keys: Some(vec![1, 5, 9]),
            chunks: vec![chunk(0, 3), chunk(3, 3), chunk(6, 3), chunk(9, 1)],
            sizes,
            uniform_size: 0,
            is_long: false,
        }
    }

    fn cut(start: u64, length: Option<u64>, with_key_frame: bool) -> Cut {
        Cut { start, length, with_key_frame, most: usize::MAX }
    }

    #[test]
    fn the_samples_of_a_time_are_left() {
        // A thousand units a second: a unit is a millisecond.
        assert_eq!(samples().wanted(1000, &cut(250, None, false)), (2..10, 0));
        assert_eq!(samples().wanted(1000, &cut(300, Some(200), false)), (3..5, 0));
        assert_eq!(samples().wanted(1000, &cut(650, None, true)), (4..10, 200));
        assert_eq!(samples().wanted(1000, &cut(5000, None, false)), (10..10, 0));
    }

    #[test]
    fn a_chunk_may_lose_its_beginning_and_its_end() {
        let mut left = samples();
        // From the second sample of the second chunk to the first of the third.
        assert_eq!(left.cut(&(4..7)), Ok(Some(1000 + 46..1000 + 46 + 14 + 15 + 16)));
        assert_eq!(left.chunks.iter().map(|chunk| chunk.samples).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((left.sizes, left.keys), (vec![14, 15, 16], Some(vec![1])));
        assert_eq!(samples().cut(&(10..10)), Ok(None));
    }

    #[test]
    fn tables_are_condensed_as_they_were() {
        let values = [5, 5, 7, 5];
        assert_eq!(expand(&condense(0, &values)), Ok(values.to_vec()));
        assert_eq!(condense(0, &values).len(), 8 + 3 * 8);
    }
}
