//! The index on the disk, so that a server that starts again knows its cache without reading the
//! folders: written by the manager now and then, and when it ends.
//!
//! What was saved at the end is complete until somebody stores a response: whoever does that first
//! says so in the file. Then, as after a crash, what is in it is taken, and the folders are read all
//! the same. A record says where nothing is any more at worst, which is a miss.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::index::{Entry, Filed};
use super::place::Place;

pub(super) const FILE: &str = ".daemun-index";

const MAGIC: &[u8; 8] = b"daemunI1";
/// Magic, count of records, levels, and their checksum.
const HEAD: usize = 24;
/// Of the byte behind the head: 1 while nothing was stored since.
const IS_COMPLETE: u64 = HEAD as u64;
/// A key, its last use, bytes on the disk, and the inode.
const RECORD: usize = 40;
/// So many records have a checksum together.
const BLOCK: usize = 1024;

/// Saves what the index knows. `is_end`: nobody but workers that end will store anything.
pub fn save(place: &Place, is_end: bool) -> io::Result<()> {
    let is_complete = is_end && !place.index.is_cold();
    // From now on whoever stores a response takes that back.
    place.index.set_saved(is_complete);
    let entries = place.index.entries();
    let path = place.folder.join(FILE);
    if entries.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let new = place.folder.join(format!("{FILE}.new"));
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    out.write_all(&head(entries.len(), &place.levels))?;
    out.write_all(&[is_complete.into(), 0, 0, 0, 0, 0, 0, 0])?;
    let mut block = Vec::with_capacity(BLOCK * RECORD);
    for entries in entries.chunks(BLOCK) {
        block.clear();
        entries.iter().for_each(|entry| write(entry, &mut block));
        out.write_all(&block)?;
        out.write_all(&crc32fast::hash(&block).to_le_bytes())?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?;
    fs::rename(new, &path)?;
    match is_complete && !place.index.is_saved() {
        true => spoil(&path),
        false => Ok(()),
    }
}

/// Takes what was saved into the index; whether that is all there is.
pub fn restore(place: &Place) -> io::Result<bool> {
    let path = place.folder.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut input = BufReader::with_capacity(64 * 1024, file);
    let mut start = [0; HEAD + 8];
    input.read_exact(&mut start)?;
    let mut left = u64::from_le_bytes(start[8..16].try_into().unwrap_or_default()) as usize;
    if start[..HEAD] != head(left, &place.levels) {
        return Ok(false);
    }
    // It is used once: what a server after this one finds is its own.
    spoil(&path)?;
    let mut block = vec![0; BLOCK * RECORD];
    let mut fits = true;
    while left > 0 {
        let count = left.min(BLOCK);
        let block = &mut block[..count * RECORD];
        let mut crc32 = [0; 4];
        input.read_exact(block)?;
        input.read_exact(&mut crc32)?;
        if crc32fast::hash(block).to_le_bytes() != crc32 {
            return Ok(false);
        }
        for record in block.chunks_exact(RECORD) {
            let Entry { key, used, filed } = read(record);
            fits &= place.index.add(&key, filed, used);
        }
        left -= count;
    }
    Ok(fits && start[HEAD] == 1)
}

/// Says that a response was stored behind the back of what was saved.
pub(super) fn mark_incomplete(folder: &Path) {
    // Where that cannot be told, the loader would not see the response: a lost hit.
    let _ = spoil(&folder.join(FILE));
}

fn spoil(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all_at(&[0], IS_COMPLETE)
}

fn head(count: usize, levels: &[usize]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&(count as u64).to_le_bytes());
    head[16..].iter_mut().zip(levels).for_each(|(place, level)| *place = *level as u8);
    let crc32 = crc32fast::hash(&head[..20]);
    head[20..].copy_from_slice(&crc32.to_le_bytes());
    head
}

fn write(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.key);
    for number in [entry.used, entry.filed.size, entry.filed.inode] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn read(record: &[u8]) -> Entry {
    let number = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default());
    let filed = Filed { size: number(24), inode: number(32), body_start: 0, epoch: 0 };
    Entry { key: record[..16].try_into().unwrap_or_default(), used: number(16), filed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let filed = Filed { size: 4096, inode: 77, body_start: 0, epoch: 0 };
        let entry = Entry { key: [9; 16], used: 1 << 40, filed };
        let mut out = Vec::new();
        write(&entry, &mut out);
        assert_eq!(out.len(), RECORD);
        assert_eq!(read(&out), entry);
    }

    #[test]
    fn a_head_is_of_its_levels() {
        assert_ne!(head(1, &[1, 2]), head(1, &[2, 1]));
        assert_ne!(head(1, &[1]), head(2, &[1]));
    }
}
