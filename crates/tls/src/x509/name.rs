//! Distinguished names as text: `$ssl_client_s_dn` and the older form.

use std::fmt::Write;

use super::der::{self, Der, Value};

/// One attribute of a name.
struct Attribute<'b> {
    kind: &'b [u8],
    value: Value<'b>,
    /// It belongs together with the one before.
    joins: bool,
}

fn attributes(name: &[u8]) -> Vec<Attribute<'_>> {
    let mut all = Vec::new();
    let Some(mut sets) = Der(name).enter(der::SEQUENCE) else { return all };
    while let Some(mut set) = sets.enter(der::SET) {
        let mut joins = false;
        while let Some(mut pair) = set.enter(der::SEQUENCE) {
            if let Some(kind) = pair.take(der::OBJECT_IDENTIFIER)
                && let Some(value) = pair.read()
            {
                all.push(Attribute { kind: kind.content, value, joins });
                joins = true;
            }
        }
    }
    all
}

/// RFC 2253, last attribute first: `CN=a,O=b`.
pub fn rfc2253(name: &[u8]) -> String {
    let mut out = String::new();
    for (index, attribute) in attributes(name).iter().rev().enumerate() {
        let all = attributes(name);
        if index > 0 {
            let before = &all[all.len() - index];
            out.push(if before.joins { '+' } else { ',' });
        }
        out.push_str(&key(attribute.kind));
        out.push('=');
        escape(&text(attribute.value), &mut out);
    }
    out
}

/// `/O=b/CN=a`, as X509_NAME_oneline(3).
pub fn one_line(name: &[u8]) -> String {
    let mut out = String::new();
    for attribute in attributes(name) {
        let _ = write!(out, "/{}=", key(attribute.kind));
        for byte in attribute.value.content {
            match byte {
                b' '..=b'~' => out.push(char::from(*byte)),
                _ => {
                    let _ = write!(out, "\\x{byte:02X}");
                }
            }
        }
    }
    out
}

/// The values of CN.
pub fn common_names(name: &[u8]) -> Vec<String> {
    let all = attributes(name);
    let common = all.iter().filter(|attribute| attribute.kind == [0x55, 4, 3]);
    common.map(|attribute| text(attribute.value)).collect()
}

fn text(value: Value<'_>) -> String {
    const BMP_STRING: u8 = 30;
    const UTF8_STRING: u8 = 12;
    match value.tag {
        BMP_STRING => {
            let (pairs, _) = value.content.as_chunks();
            String::from_utf16_lossy(
                &pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>(),
            )
        }
        UTF8_STRING => String::from_utf8_lossy(value.content).into_owned(),
        // Latin 1, or less.
        _ => value.content.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn escape(text: &str, out: &mut String) {
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        let at_edge = character == ' ' && (index == 0 || index == last);
        let begins = character == '#' && index == 0;
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                out.push('\\');
                out.push(character);
            }
            _ if at_edge || begins => {
                out.push('\\');
                out.push(character);
            }
            '\0'..='\x1f' | '\x7f' => {
                let _ = write!(out, "\\{:02X}", character as u32);
            }
            // ASN1_STRFLGS_ESC_MSB
            character if !character.is_ascii() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            character => out.push(character),
        }
    }
}

/// OpenSSL's short name of an attribute, else its number.
fn key(kind: &[u8]) -> String {
    let known = match kind {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        [0x55, 4, 43] => "initials",
        [0x55, 4, 46] => "dnQualifier",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return dotted(kind),
    };
    known.to_owned()
}

fn dotted(kind: &[u8]) -> String {
    let mut out = String::new();
    let mut number = 0u64;
    for byte in kind {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        match out.is_empty() {
            true => {
                let first = (number / 40).min(2);
                let _ = write!(out, "{first}.{}", number - first * 40);
            }
            false => {
                let _ = write!(out, ".{number}");
            }
        }
        number = 0;
    }
    out
}
