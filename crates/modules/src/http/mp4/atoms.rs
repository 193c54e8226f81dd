//! The outermost parts of a video (ISO/IEC 14496-12): a file is a list of atoms, some of which are lists themselves.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use daemun_core::log::Errno;
use daemun_sys::allocator;

use super::track::{self, Track};

/// Which part of a video is wanted, in milliseconds.
pub(super) struct Cut {
    pub start: u64,
    /// `None`: to the end.
    pub length: Option<u64>,
    pub with_key_frame: bool,
    /// The most bytes of its description.
    pub most: usize,
}

/// A part of a video: what goes before its pictures and sounds, and where in the file these are.
pub(super) struct Trimmed {
    pub head: Vec<u8>,
    pub data: Range<u64>,
}

/// An atom in memory.
#[derive(Clone, Copy)]
pub(super) struct Atom<'a> {
    pub name: [u8; 4],
    pub content: &'a [u8],
}

/// The atoms in a list; an atom that does not fit is an error.
pub(super) fn atoms(bytes: &[u8]) -> Result<Vec<Atom<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (name, header, told) = header(rest, rest.len() as u64)?;
        let length = usize::try_from(told).ok().filter(|length| *length <= rest.len());
        let length = length.ok_or_else(|| too_large(told))?;
        found.push(Atom { name, content: &rest[header..length] });
        rest = &rest[length..];
    }
    Ok(found)
}

/// Name, length of the header, and length with it; `left` is meant where an atom goes to the end.
fn header(bytes: &[u8], left: u64) -> Result<([u8; 4], usize, u64), String> {
    let (name, header, length) = fields(bytes, left).ok_or("mp4 file truncated")?;
    match length >= header as u64 {
        true => Ok((name, header, length)),
        false => Err(format!("mp4 atom is too small:{length}")),
    }
}

fn fields(bytes: &[u8], left: u64) -> Option<([u8; 4], usize, u64)> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let name = bytes.get(4..8)?.try_into().ok()?;
    Some(match length {
        0 => (name, 8, left),
        1 => (name, 16, u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?)),
        length => (name, 8, u64::from(length)),
    })
}

fn too_large(length: u64) -> String {
    format!("mp4 atom too large:{length}")
}

/// Refuses what can't be a movie's description, before its tracks are looked at.
fn check_movie(moov: &[u8]) -> Result<(), String> {
    let moov = atoms(moov)?;
    for (place, atom) in moov.iter().enumerate() {
        match &atom.name {
            b"cmov" => return Err("mp4 compressed moov atom (cmov) is not supported".to_owned()),
            b"mvhd" if moov[..place].iter().any(|before| before.name == atom.name) => {
                return Err("duplicate mp4 mvhd atom".to_owned());
            }
            b"mvhd" => check_size(atom, 100, 112)?,
            b"trak" => check_track(atom.content)?,
            _ => {}
        }
    }
    Ok(())
}

fn has_tracks(moov: &[u8]) -> Result<bool, String> {
    Ok(atoms(moov)?.iter().any(|atom| &atom.name == b"trak"))
}

fn check_track(content: &[u8]) -> Result<(), String> {
    for atom in atoms(content)? {
        match &atom.name {
            b"tkhd" => check_size(&atom, 84, 96)?,
            b"mdia" => {
                let media = atoms(atom.content)?;
                let headers = media.iter().filter(|atom| &atom.name == b"mdhd");
                headers.into_iter().try_for_each(|atom| check_size(atom, 24, 36))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// By its version an atom has times of 32 or 64 bits.
fn check_size(atom: &Atom<'_>, short: usize, long: usize) -> Result<(), String> {
    let least = if atom.content.first() == Some(&1) { long } else { short };
    match atom.content.len() >= least {
        true => Ok(()),
        false => Err(format!("mp4 {} atom too small", String::from_utf8_lossy(&atom.name))),
    }
}

/// Appends an atom.
pub(super) fn push(out: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    out.extend_from_slice(&(content.len() as u32 + 8).to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(content);
}

/// The number at a place of an atom.
pub(super) fn word(content: &[u8], at: usize) -> Result<u32, String> {
    let bytes = content.get(at..at + 4).ok_or("mp4 atom too small")?;
    Ok(u32::from_be_bytes(bytes.try_into().map_err(|_| "mp4 atom too small")?))
}

/// Writes a duration into an atom that has it in 32 or, by its version, 64 bits.
pub(super) fn set_duration(
    content: &mut [u8],
    short: usize,
    long: usize,
    duration: u64,
) -> Result<(), String> {
    let is_long = content.first() == Some(&1);
    let (at, bytes) = match is_long {
        true => (long, duration.to_be_bytes().to_vec()),
        false => (short, u32::try_from(duration).unwrap_or(u32::MAX).to_be_bytes().to_vec()),
    };
    let place = content.get_mut(at..at + bytes.len()).ok_or("mp4 atom too small")?;
    place.copy_from_slice(&bytes);
    Ok(())
}

/// The duration of an atom like that.
pub(super) fn duration(content: &[u8], short: usize, long: usize) -> Result<u64, String> {
    match content.first() {
        Some(1) => Ok(u64::from(word(content, long)?) << 32 | u64::from(word(content, long + 4)?)),
        _ => word(content, short).map(u64::from),
    }
}

/// Makes the part of a video that is wanted; `None` where that is the file as it is.
pub(super) fn trim(file: &File, size: u64, cut: &Cut) -> Result<Option<Trimmed>, String> {
    let Some(outline) = outline(file, size, cut)? else { return Ok(None) };
    let moov = atoms(&outline.moov)?;
    let movie = moov.iter().find(|atom| &atom.name == b"mvhd").ok_or("no mp4 mvhd atom found")?;
    let is_long = movie.content.first() == Some(&1);
    let timescale = word(movie.content, if is_long { 20 } else { 12 })?;
    let whole = duration(movie.content, 16, 24)?;
    if whole < track::units(cut.start, timescale) {
        return Err("mp4 start time exceeds file duration".to_owned());
    }
    let boxes = moov.iter().filter(|atom| &atom.name == b"trak");
    let trimmed = boxes.filter_map(|atom| Track::trim(atom.content, timescale, cut).transpose());
    let tracks: Vec<Track<'_>> = trimmed.collect::<Result<_, _>>()?;
    if tracks.is_empty() {
        return Err("no mp4 trak atoms were found".to_owned());
    }
    let starts = tracks.iter().filter_map(|track| track.data.as_ref().map(|data| data.start));
    let start = starts.min().ok_or("no data between start time and end time")?;
    let end = match cut.length {
        None => outline.data.end,
        Some(_) => tracks
            .iter()
            .filter_map(|track| track.data.as_ref().map(|data| data.end))
            .max()
            .unwrap_or(start),
    };
    if start > end || end > outline.data.end {
        return Err("end time is out mp4 mdat atom".to_owned());
    }
    let mut header = movie.content.to_vec();
    set_duration(&mut header, 16, 24, track::trimmed(whole, timescale, cut))?;
    let mdat = data_header(end - start);
    let before = (outline.ftyp.len() + mdat.len()) as u64;
    // Its length does not depend on the offsets in it.
    let length = movie_atom(&header, &tracks, 0)?.len() as u64;
    let shift = i128::from(before + length) - i128::from(start);
    let mut head = outline.ftyp;
    head.extend_from_slice(&movie_atom(&header, &tracks, shift)?);
    head.extend_from_slice(&mdat);
    Ok(Some(Trimmed { head, data: start..end }))
}

fn movie_atom(header: &[u8], tracks: &[Track<'_>], shift: i128) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    push(&mut content, b"mvhd", header);
    for track in tracks {
        push(&mut content, b"trak", &track.content(shift)?);
    }
    let mut out = Vec::new();
    push(&mut out, b"moov", &content);
    Ok(out)
}

fn data_header(length: u64) -> Vec<u8> {
    match u32::try_from(length + 8) {
        Ok(length) => [&length.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => [&1u32.to_be_bytes()[..], b"mdat", &(length + 16).to_be_bytes()].concat(),
    }
}

/// What a file has at its outermost level.
struct Outline {
    /// Whole.
    ftyp: Vec<u8>,
    /// What is in it.
    moov: Vec<u8>,
    /// Where pictures and sounds are.
    data: Range<u64>,
}

/// `None` where all of a file is wanted that has its description in front.
fn outline(file: &File, size: u64, cut: &Cut) -> Result<Option<Outline>, String> {
    let told = |error: io::Error| format!("read() failed: {error}");
    let (mut ftyp, mut moov, mut data) = (Vec::new(), None, None);
    let mut at = 0;
    while at < size && (moov.is_none() || data.is_none()) {
        let mut bytes = [0; 16];
        let there = usize::try_from((size - at).min(16)).unwrap_or(16);
        file.read_exact_at(&mut bytes[..there], at).map_err(told)?;
        let (name, header, length) = header(&bytes[..there], size - at)?;
        if length > size - at {
            return Err(too_large(length));
        }
        let read = |from: u64| -> Result<Vec<u8>, String> {
            let length = usize::try_from(at + length - from).unwrap_or(usize::MAX);
            if length > cut.most {
                let name = String::from_utf8_lossy(&name);
                return Err(format!(
                    "mp4 {name} atom is too large:{length}, you may want to increase mp4_max_buffer_size"
                ));
            }
            let mut content = Vec::new();
            if !allocator::has_room(length) || content.try_reserve_exact(length).is_err() {
                return Err(format!("malloc({length}) failed{}", Errno(&allocator::shortage())));
            }
            content.resize(length, 0);
            file.read_exact_at(&mut content, from).map_err(told)?;
            Ok(content)
        };
        match &name {
            b"ftyp" => ftyp = read(at)?,
            b"moov" if data.is_none() && cut.start == 0 && cut.length.is_none() => return Ok(None),
            b"moov" if moov.is_some() => return Err("duplicate mp4 moov atom".to_owned()),
            b"moov" => {
                let content = read(at + header as u64)?;
                check_movie(&content)?;
                moov = Some(content);
            }
            b"mdat" => data = Some(at + header as u64..at + length),
            _ => {}
        }
        at += length;
    }
    let no_tracks = "no mp4 trak atoms were found";
    let moov = moov.ok_or(no_tracks)?;
    if !has_tracks(&moov)? {
        return Err(no_tracks.to_owned());
    }
    Ok(Some(Outline { ftyp, moov, data: data.ok_or("no mp4 mdat atom was found")? }))
}
