//! PEM (RFC 7468), read as leniently as OpenSSL does: text between blocks is skipped.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// One block.
pub struct Block {
    /// `CERTIFICATE` and the like.
    pub label: String,
    /// `Proc-Type` and `DEK-Info` of keys that are encrypted in the old way.
    pub headers: Vec<(String, String)>,
    pub content: Vec<u8>,
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Every block; `None` where one does not end or is no base64.
pub fn blocks(text: &[u8]) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    while let Some(line) = lines.next() {
        let Some(label) = marker(line, b"-----BEGIN ") else { continue };
        let mut headers = Vec::new();
        let mut content = Vec::new();
        loop {
            let line = lines.next()?;
            if let Some(end) = marker(line, b"-----END ") {
                if end != label {
                    return None;
                }
                break;
            }
            let text = str::from_utf8(line).ok()?;
            match text.split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => content.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace())),
            }
        }
        let content = BASE64.decode(&content).ok()?;
        blocks.push(Block { label: String::from_utf8(label.to_vec()).ok()?, headers, content });
    }
    Some(blocks)
}

fn marker<'l>(line: &'l [u8], start: &[u8]) -> Option<&'l [u8]> {
    line.strip_prefix(start)?.strip_suffix(b"-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = b"subject=/CN=a\r\n-----BEGIN A B-----\r\nYWJj\r\nZGVm\r\n-----END A B-----\r\n\
            x\n-----BEGIN K-----\nProc-Type: 4,ENCRYPTED\n\nYQ==\n-----END K-----";
        let blocks = blocks(text).unwrap();
        assert_eq!((&*blocks[0].label, &*blocks[0].content), ("A B", &b"abcdef"[..]));
        assert_eq!(blocks[1].headers, [("Proc-Type".to_owned(), "4,ENCRYPTED".to_owned())]);
        assert_eq!(blocks[1].content, b"a");
    }

    #[test]
    fn broken_blocks_are_refused() {
        assert!(blocks(b"-----BEGIN A-----\nYWJj\n").is_none());
        assert!(blocks(b"-----BEGIN A-----\nYWJj\n-----END B-----\n").is_none());
        assert!(blocks(b"-----BEGIN A-----\n!!!!\n-----END A-----\n").is_none());
        assert!(blocks(b"nothing here").unwrap().is_empty());
    }
}
