//! Keys: the text that names a response, its hash, and the file that the hash names.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

/// An MD5 hash, which names an entry of the index and its file.
pub type Hash = [u8; 16];

/// A request's key.
#[derive(Clone, Debug, Default)]
pub struct Key {
    pub text: Vec<u8>,
    /// Of the text.
    pub main: Hash,
    pub crc32: u32,
}

impl Key {
    pub fn new(text: Vec<u8>) -> Key {
        let main = Md5::digest(&text).into();
        let crc32 = crc32fast::hash(&text);
        Key { text, main, crc32 }
    }
}

pub fn hex(hash: &Hash) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The hash that a file's name spells.
pub fn from_hex(name: &[u8]) -> Option<Hash> {
    let name: &[u8; 32] = name.try_into().ok()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut hash = Hash::default();
    for (byte, pair) in hash.iter_mut().zip(name.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash)
}

/// The file of a hash: in folders whose names are taken from its end.
pub fn file(folder: &Path, levels: &[usize], hash: &Hash) -> PathBuf {
    let name = hex(hash);
    let mut path = folder.to_owned();
    let mut end = name.len();
    for level in levels {
        path.push(&name[end - level..end]);
        end -= level;
    }
    path.push(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stand_where_nginx_has_them() {
        let key = Key::new(b"http://o/i/1".to_vec());
        let name = hex(&key.main);
        assert_eq!(from_hex(name.as_bytes()), Some(key.main));
        let path = file(Path::new("/c"), &[1, 2], &key.main);
        assert_eq!(path, PathBuf::from(format!("/c/{}/{}/{name}", &name[31..], &name[29..31])));
        assert_eq!(file(Path::new("/c"), &[], &key.main), PathBuf::from(format!("/c/{name}")));
    }

    #[test]
    fn other_names_are_no_hashes() {
        assert_eq!(from_hex(b"index.html"), None);
        assert_eq!(from_hex(&[b'g'; 32]), None);
        assert_eq!(from_hex(&[b'0'; 33]), None);
    }
}
