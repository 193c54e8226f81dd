//! The head of a file in the cache, byte for byte as nginx 1.31 writes it on 64-bit machines of little endian: what one
//! server has stored the other serves.

/// Bytes of nginx's structure.
pub const HEAD: usize = 336;
/// Where in it the time stands until which a response is fresh.
pub const VALID_AT: u64 = 8;
/// Between that and the key.
pub const KEY_MARK: &[u8] = b"\nKEY: ";
/// The longest entity tag, and the longest `Vary`, that are remembered.
pub const LONGEST_TEXT: usize = 128;
/// The version of the format.
const VERSION: u64 = 5;

/// What stands in front of a response that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileHead {
    /// Seconds since 1970 until which the response is fresh.
    pub valid_sec: i64,
    /// How many seconds longer it may be served while another is fetched, and where that fails.
    pub updating_sec: i64,
    pub error_sec: i64,
    /// Seconds since 1970, or -1.
    pub last_modified: i64,
    /// When it was stored, or found to be still true.
    pub date: i64,
    /// Of the key.
    pub crc32: u32,
    pub valid_msec: u16,
    /// Where the upstream's own head begins, and its body.
    pub header_start: u16,
    pub body_start: u16,
    pub etag: Vec<u8>,
    /// The fields that the response varies with, and a hash of what the request had there.
    pub vary: Vec<u8>,
    pub variant: [u8; 16],
}

/// Why a file's head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    TooSmall,
    /// Of another version of nginx, or of another machine.
    Version,
    VaryLength,
}

/// Where the upstream's head begins behind a key that long.
pub fn header_start(key: usize) -> usize {
    HEAD + KEY_MARK.len() + key + 1
}

impl FileHead {
    /// Appends the structure alone.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(VERSION.to_le_bytes());
        for seconds in
            [self.valid_sec, self.updating_sec, self.error_sec, self.last_modified, self.date]
        {
            out.extend(seconds.to_le_bytes());
        }
        out.extend(self.crc32.to_le_bytes());
        for short in [self.valid_msec, self.header_start, self.body_start] {
            out.extend(short.to_le_bytes());
        }
        text(&self.etag, out);
        text(&self.vary, out);
        let has_variant = !self.vary.is_empty();
        out.extend(if has_variant { self.variant } else { [0; 16] });
        out.resize(start + HEAD, 0);
    }

    /// Reads what stands at the beginning of a file.
    pub fn read(bytes: &[u8]) -> Result<FileHead, Misfit> {
        let bytes = bytes.first_chunk::<HEAD>().ok_or(Misfit::TooSmall)?;
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|place| bytes[at + place]));
        let seconds = |at: usize| long(at).cast_signed();
        let short = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if long(0) != VERSION {
            return Err(Misfit::Version);
        }
        let (etag, vary) = (usize::from(bytes[58]), usize::from(bytes[187]));
        if vary > LONGEST_TEXT {
            return Err(Misfit::VaryLength);
        }
        Ok(FileHead {
            valid_sec: seconds(8),
            updating_sec: seconds(16),
            error_sec: seconds(24),
            last_modified: seconds(32),
            date: seconds(40),
            crc32: u32::from_le_bytes(std::array::from_fn(|place| bytes[48 + place])),
            valid_msec: short(52),
            header_start: short(54),
            body_start: short(56),
            etag: bytes[59..][..etag.min(LONGEST_TEXT)].to_vec(),
            vary: bytes[188..][..vary].to_vec(),
            variant: std::array::from_fn(|place| bytes[316 + place]),
        })
    }
}

/// A length in a byte and room for the longest text; what is longer is left out.
fn text(text: &[u8], out: &mut Vec<u8>) {
    let text = if text.len() > LONGEST_TEXT { &b""[..] } else { text };
    out.push(text.len() as u8);
    out.extend_from_slice(text);
    out.resize(out.len() + LONGEST_TEXT - text.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> FileHead {
        FileHead {
            valid_sec: 1_796_083_200,
            updating_sec: 3,
            error_sec: 4,
            last_modified: -1,
            date: 1_796_083_100,
            crc32: 0xdead_beef,
            valid_msec: 7,
            header_start: 359,
            body_start: 500,
            etag: b"\"abc\"".to_vec(),
            vary: b"Accept-Encoding".to_vec(),
            variant: [9; 16],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut file = Vec::new();
        some().write(&mut file);
        assert_eq!(file.len(), HEAD);
        assert_eq!(FileHead::read(&file), Ok(some()));
    }

    #[test]
    fn places_are_those_of_the_structure() {
        let mut file = Vec::new();
        some().write(&mut file);
        assert_eq!(file[..8], [5, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(file[32..40], [0xff; 8]);
        assert_eq!(file[48..52], 0xdead_beef_u32.to_le_bytes());
        assert_eq!(file[58..64], *b"\x05\"abc\"");
        assert_eq!(file[187..192], *b"\x0fAcce");
        assert_eq!(file[316..], [[9; 16].as_slice(), &[0; 4]].concat());
    }

    #[test]
    fn what_fits_not_is_told() {
        let mut file = Vec::new();
        some().write(&mut file);
        assert_eq!(FileHead::read(&file[..HEAD - 1]), Err(Misfit::TooSmall));
        let mut other = file.clone();
        other[0] = 4;
        assert_eq!(FileHead::read(&other), Err(Misfit::Version));
        file[187] = 129;
        assert_eq!(FileHead::read(&file), Err(Misfit::VaryLength));
    }

    #[test]
    fn a_long_etag_is_left_out() {
        let head = FileHead { etag: vec![b'x'; 129], ..some() };
        let mut file = Vec::new();
        head.write(&mut file);
        assert_eq!(FileHead::read(&file).unwrap().etag, b"");
    }

    /// What nginx 1.31.5 stored for `http://127.0.0.1:19080/v`, with `Vary: Accept-Encoding` and `ETag: "e1"`.
    const BY_NGINX: &[u8] = include_bytes!("testdata/vary.cache");

    #[test]
    fn a_file_of_nginx_is_written_the_same() {
        let head = FileHead::read(BY_NGINX).unwrap();
        assert_eq!((&*head.etag, &*head.vary), (&b"\"e1\""[..], &b"Accept-Encoding"[..]));
        let key = b"http://127.0.0.1:19080/v";
        assert_eq!(usize::from(head.header_start), header_start(key.len()));
        assert_eq!(head.crc32, crc32fast::hash(key));
        assert!(BY_NGINX[HEAD..].starts_with(&[KEY_MARK, key, b"\nHTTP/1."].concat()));
        let mut again = Vec::new();
        head.write(&mut again);
        assert_eq!(again, BY_NGINX[..HEAD]);
    }
}
