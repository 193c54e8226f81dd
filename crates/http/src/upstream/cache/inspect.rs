//! Looking at the files of a cache from outside, nginx's as well: for commands.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::filling::disk_size;
use super::format::{FileHead, HEAD, KEY_MARK};
use super::key::{self, Hash, Key};
use super::purge::{Subject, Target};

/// A response in a file.
pub struct Response {
    pub path: PathBuf,
    pub key: Vec<u8>,
    /// It varies with these fields, and the file is one of its variants.
    pub vary: Vec<u8>,
    /// Seconds since 1970.
    pub stored: i64,
    pub fresh_until: i64,
    /// The upstream's head as it was stored.
    pub head: Vec<u8>,
    /// Bytes of the body, and of the whole file on the disk.
    pub length: u64,
    pub size: u64,
}

/// Why a file with the name of one is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    TooShort,
    OtherVersion,
    Key,
    /// The file has not the name of its key, nor of one of its variants.
    Name,
}

impl Flaw {
    pub fn text(self) -> &'static str {
        match self {
            Flaw::TooShort => "it is too short",
            Flaw::OtherVersion => "it is of another version or machine",
            Flaw::Key => "its key is damaged",
            Flaw::Name => "its name is another key's",
        }
    }
}

/// Calls `see` for each file of the cache in that folder; an error is that of reading a folder. Other files are passed over.
pub fn each(folder: &Path, see: &mut dyn FnMut(&Path, Result<Response, Flaw>)) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => each(&path, see)?,
            Ok(kind) if kind.is_file() => {
                if let Some(hash) = key::from_hex(name.as_encoded_bytes())
                    && let Ok(read) = read(&path, &hash)
                {
                    see(&path, read);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path, hash: &Hash) -> io::Result<Result<Response, Flaw>> {
    const MOST: usize = 64 * 1024;
    let file = File::open(path)?;
    let info = file.metadata()?;
    let mut bytes = vec![0; MOST];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(take_apart(path, hash, &bytes).map(|response| Response {
        length: info.len().saturating_sub(response.length),
        size: disk_size(&info),
        ..response
    }))
}

/// With the place of the body as its length.
fn take_apart(path: &Path, hash: &Hash, bytes: &[u8]) -> Result<Response, Flaw> {
    if bytes.len() < HEAD {
        return Err(Flaw::TooShort);
    }
    let head = FileHead::read(bytes).map_err(|_| Flaw::OtherVersion)?;
    let (start, end) = (usize::from(head.header_start), usize::from(head.body_start));
    let (Some(named), Some(own)) = (bytes.get(HEAD..start), bytes.get(start..end)) else {
        return Err(Flaw::TooShort);
    };
    let text = named.strip_prefix(KEY_MARK).and_then(|rest| rest.strip_suffix(b"\n"));
    let key = Key::new(text.ok_or(Flaw::Key)?.to_vec());
    if key.crc32 != head.crc32 {
        return Err(Flaw::Key);
    }
    let is_variant = !head.vary.is_empty() && head.variant == *hash;
    if key.main != *hash && !is_variant {
        return Err(Flaw::Name);
    }
    Ok(Response {
        path: path.to_owned(),
        key: key.text,
        vary: head.vary,
        stored: head.date,
        fresh_until: head.valid_sec,
        head: own.to_vec(),
        length: end as u64,
        size: 0,
    })
}

impl Response {
    /// Whether a purge matches it.
    pub fn matches(&self, target: &Target) -> bool {
        let main = Key::new(self.key.clone()).main;
        let subject = Subject { key: &self.key, main: &main, head: &self.head, date: self.stored };
        target.matches(&subject)
    }
}

/// What a key or its hash in hexadecimal digits names.
pub fn key_target(text: &[u8]) -> Target {
    Target::Key(key::from_hex(text).unwrap_or_else(|| Key::new(text.to_vec()).main))
}
