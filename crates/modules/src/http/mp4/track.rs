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
    /// `vmhd`, `smhd` and `dinf`, as they are.
    media: Vec<Atom<'a>>,
    descriptions: &'a [u8],
    samples: Samples,
    /// Where in the file its samples are; `None` where none are left.
    pub data: Option<Range<u64>>,
}

/// The tables.
struct Samples {
    durations: Runs,
    /// How much later than decoded a sample is shown.
    delays: Option<Runs>,
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
    /// The row that tells of it; one of its own where a part of it is left.
    row: Option<usize>,
}

/// Milliseconds in units of a timescale.
pub(super) fn units(milliseconds: u64, timescale: u32) -> u64 {
    milliseconds.saturating_mul(u64::from(timescale)) / 1000
}

/// A duration less what is cut off.
pub(super) fn trimmed(whole: u64, timescale: u32, cut: &Cut) -> u64 {
    let left = whole.saturating_sub(units(cut.start, timescale));
    cut.length.map_or(left, |length| units(length, timescale).min(left))
}

fn find<'a>(list: &[Atom<'a>], name: &[u8; 4]) -> Result<&'a [u8], String> {
    let found = list.iter().find(|atom| &atom.name == name);
    let name = String::from_utf8_lossy(name);
    found.map(|atom| atom.content).ok_or_else(|| format!("no mp4 {name} atoms were found"))
}

/// Whether a track tells when its samples are played: without that it can't be cut, whatever else is missing.
fn has_times(parts: &[Atom<'_>]) -> Result<bool, String> {
    let mut inside = parts.to_vec();
    for name in [b"mdia", b"minf", b"stbl"] {
        let Ok(content) = find(&inside, name) else { return Ok(false) };
        inside = atoms(content)?;
    }
    Ok(inside.iter().any(|atom| &atom.name == b"stts"))
}

impl<'a> Track<'a> {
    /// Cuts a track; durations in its header are in units of the movie's timescale. `None` where it ends before the start.
    pub fn trim(
        content: &'a [u8],
        movie_timescale: u32,
        cut: &Cut,
    ) -> Result<Option<Track<'a>>, String> {
        let parts = atoms(content)?;
        if !has_times(&parts)? {
            return Err("no mp4 stts atoms were found".to_owned());
        }
        let mut header = find(&parts, b"tkhd")?.to_vec();
        let media = atoms(find(&parts, b"mdia")?)?;
        let mut media_header = find(&media, b"mdhd")?.to_vec();
        let is_long = media_header.first() == Some(&1);
        let timescale = word(&media_header, if is_long { 20 } else { 12 })?;
        let (shown, played) = (duration(&header, 20, 28)?, duration(&media_header, 16, 24)?);
        let shown = trimmed(shown, movie_timescale, cut);
        let played = trimmed(played, timescale, cut);
        if shown == 0 || played == 0 {
            return Ok(None);
        }

        let information = atoms(find(&media, b"minf")?)?;
        let tables = atoms(find(&information, b"stbl")?)?;
        let mut samples = Samples::read(&tables)?;
        let (range, before) = samples.wanted(timescale, cut)?;
        let data = samples.cut(&range, cut.length.is_some())?;

        set_duration(&mut header, 20, 28, shown)?;
        set_duration(&mut media_header, 16, 24, played + before)?;
        let known = [b"vmhd", b"smhd", b"dinf"];
        let media_information =
            known.iter().filter_map(|name| information.iter().find(|atom| &&atom.name == name));
        Ok(Some(Track {
            header,
            edit: (before > 0).then_some((shown, before)),
            media_header,
            handler: find(&media, b"hdlr").ok(),
            media: media_information.copied().collect(),
            descriptions: find(&tables, b"stsd")?,
            samples,
            data,
        }))
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

/// A table of how many samples in a row have a value.
struct Runs {
    version: u8,
    rows: Vec<(u32, u32)>,
}

impl Runs {
    fn read(table: &[u8]) -> Result<Runs, String> {
        let count = word(table, 4)? as usize;
        let rows =
            (0..count).map(|row| Ok((word(table, 8 + 8 * row)?, word(table, 12 + 8 * row)?)));
        let rows = rows.collect::<Result<_, String>>()?;
        Ok(Runs { version: table.first().copied().unwrap_or(0), rows })
    }

    fn samples(&self) -> usize {
        self.rows.iter().map(|(count, _)| *count as usize).sum()
    }

    /// The sample that plays when so much time has passed, where values are durations.
    fn at_time(&self, mut time: u64) -> Option<usize> {
        let mut first = 0;
        for (count, duration) in &self.rows {
            let whole = u64::from(*count) * u64::from(*duration);
            if time < whole {
                return Some(first + (time / u64::from(*duration)) as usize);
            }
            time -= whole;
            first += *count as usize;
        }
        None
    }

    /// The values of a range, added up.
    fn sum(&self, range: &Range<usize>) -> u64 {
        let mut first = 0;
        let parts = self.rows.iter().map(|(count, value)| {
            let next = first + *count as usize;
            let inside = range.end.min(next).saturating_sub(range.start.max(first));
            first = next;
            inside as u64 * u64::from(*value)
        });
        parts.sum()
    }

    /// Leaves a range. As nginx has it, the row behind the last sample stays where it `ends`, with what is left of it,
    /// which may be nothing.
    fn cut(&mut self, range: &Range<usize>, ends: bool) {
        match self.place(range.start) {
            Some((row, skipped)) => {
                self.rows.drain(..row);
                self.rows[0].0 -= skipped;
            }
            None => self.rows.clear(),
        }
        if ends && let Some((row, left)) = self.place(range.len()) {
            self.rows.truncate(row + 1);
            self.rows[row].0 = left;
        }
    }

    /// The row of a sample, and its place in there.
    fn place(&self, sample: usize) -> Option<(usize, u32)> {
        let mut left = sample;
        for (row, (count, _)) in self.rows.iter().enumerate() {
            if left < *count as usize {
                return Some((row, left as u32));
            }
            left -= *count as usize;
        }
        None
    }

    fn write(&self) -> Vec<u8> {
        let numbers: Vec<u32> =
            self.rows.iter().flat_map(|(count, value)| [*count, *value]).collect();
        table(self.version, self.rows.len() as u32, &numbers)
    }
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
        let durations = Runs::read(find(tables, b"stts")?)?;
        let delays = find(tables, b"ctts").ok().map(Runs::read).transpose()?;
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
    fn wanted(&self, timescale: u32, cut: &Cut) -> Result<(Range<usize>, u64), String> {
        let start = self.durations.at_time(units(cut.start, timescale));
        let start = start.ok_or("start time is out mp4 stts samples")?;
        // The part's time begins with its first sample.
        let from = self.durations.sum(&(0..start));
        let end = cut.length.and_then(|length| {
            self.durations.at_time(from.saturating_add(units(length, timescale)))
        });
        let end = end.unwrap_or_else(|| self.durations.samples());
        let first = match (&self.keys, cut.with_key_frame) {
            (Some(keys), true) => {
                // Numbers of samples begin with 1.
                let before = keys.iter().copied().filter(|key| *key as usize <= start + 1);
                before.max().map_or(start, |key| (key as usize).saturating_sub(1))
            }
            _ => start,
        };
        Ok((first..end, self.durations.sum(&(first..start))))
    }

    /// Leaves the samples of a range, which `ends` where an end is wanted; where they are in the file.
    fn cut(&mut self, range: &Range<usize>, ends: bool) -> Result<Option<Range<u64>>, String> {
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
                    samples: kept.len() as u32,
                    description: chunk.description,
                    row: chunk.row.filter(|_| kept.len() == chunk.samples as usize),
                });
            }
            first = next;
        }
        self.chunks = left;
        self.durations.cut(range, ends);
        self.sizes = self.sizes[range.clone()].to_vec();
        if let Some(delays) = &mut self.delays {
            delays.cut(range, ends);
        }
        self.delays.take_if(|delays| delays.rows.is_empty());
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
        push(out, b"stts", &self.durations.write());
        if let Some(keys) = &self.keys {
            push(out, b"stss", &table(0, keys.len() as u32, keys));
        }
        if let Some(delays) = &self.delays {
            push(out, b"ctts", &delays.write());
        }
        let mut rows: Vec<u32> = Vec::new();
        let mut last = None;
        for (index, chunk) in self.chunks.iter().enumerate() {
            if chunk.row.is_none() || chunk.row != last {
                rows.extend([index as u32 + 1, chunk.samples, chunk.description]);
            }
            last = chunk.row;
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
        chunks.push(Chunk { offset: *offset, samples, description, row: Some(current) });
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
            row: Some(first / 9),
        };
        Samples {
            durations: Runs { version: 0, rows: vec![(4, 100), (6, 100)] },
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
        assert_eq!(samples().wanted(1000, &cut(250, None, false)), Ok((2..10, 0)));
        assert_eq!(samples().wanted(1000, &cut(300, Some(200), false)), Ok((3..5, 0)));
        assert_eq!(samples().wanted(1000, &cut(650, None, true)), Ok((4..10, 200)));
        assert_eq!(samples().wanted(1000, &cut(650, Some(5000), true)), Ok((4..10, 200)));
        assert!(samples().wanted(1000, &cut(1000, None, false)).is_err());
    }

    #[test]
    fn a_chunk_may_lose_its_beginning_and_its_end() {
        let mut left = samples();
        // From the second sample of the second chunk to the first of the third.
        assert_eq!(left.cut(&(4..7), true), Ok(Some(1000 + 46..1000 + 46 + 14 + 15 + 16)));
        assert_eq!(left.chunks.iter().map(|chunk| chunk.samples).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((left.sizes, left.keys), (vec![14, 15, 16], Some(vec![1])));
        assert_eq!(samples().cut(&(10..10), true), Ok(None));
    }

    #[test]
    fn rows_are_cut_as_nginx_cuts_them() {
        let cut = |range: Range<usize>, ends| {
            let mut runs = Runs { version: 0, rows: vec![(4, 7), (6, 8), (2, 9)] };
            runs.cut(&range, ends);
            runs.rows
        };
        assert_eq!(cut(0..12, false), [(4, 7), (6, 8), (2, 9)]);
        assert_eq!(cut(5..12, false), [(5, 8), (2, 9)]);
        assert_eq!(cut(3..6, true), [(1, 7), (2, 8)]);
        // nothing is left of the row behind
        assert_eq!(cut(3..10, true), [(1, 7), (6, 8), (0, 9)]);
        assert_eq!(cut(12..12, false), []);
    }
}
