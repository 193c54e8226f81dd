//! What a field is, told from its name and value once: a table keeps it beside its entry, so that a
//! field that is only referred to is looked at no more.

/// Names that mean something to the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    #[default]
    None,
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
    OtherPseudo,
    ContentLength,
    Cookie,
    Host,
    Priority,
    Te,
    /// It concerns a connection, and has no place here.
    Connection,
}

/// How far name and value keep to what they may be (RFC 9113, section 8.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    pub meaning: Meaning,
    flags: u8,
}

/// The name has bytes that are no token's in HTTP/1, or not by all.
const ODD: u8 = 1;
const UNDERSCORE: u8 = 2;
/// The name has bytes that may not be in a name at all, or is empty.
const BAD_NAME: u8 = 4;
const BAD_VALUE: u8 = 8;

/// What a byte of a name is. Letters are lower-case ones, or the name is refused.
static BYTES: [u8; 256] = {
    let mut class = [ODD; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' {
            class[byte] = 0;
        } else if b == b'_' {
            class[byte] = UNDERSCORE;
        } else if b <= 0x20 || b >= 0x7f || b == b':' || b.is_ascii_uppercase() {
            class[byte] = BAD_NAME;
        }
        byte += 1;
    }
    class
};

impl Nature {
    pub fn of_name(name: &[u8]) -> Nature {
        let meaning = meaning(name);
        let flags = match name {
            [] => BAD_NAME,
            // Those that are known are as they should be, and others are refused for that.
            [b':', ..] => 0,
            _ => name.iter().fold(0, |flags, byte| flags | BYTES[usize::from(*byte)]),
        };
        Nature { meaning, flags }
    }

    /// The same name with this value. It may not have bytes by which another line could be made of
    /// it, or blanks around it.
    pub fn with_value(self, value: &[u8]) -> Nature {
        let is_refused =
            value.iter().fold(false, |refused, byte| refused | matches!(byte, 0 | b'\n' | b'\r'));
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let is_bad = is_refused || is_blank(value.first()) || is_blank(value.last());
        let flags = self.flags & !BAD_VALUE | if is_bad { BAD_VALUE } else { 0 };
        Nature { flags, ..self }
    }

    pub fn is_pseudo(self) -> bool {
        use Meaning::*;
        matches!(self.meaning, Method | Scheme | Authority | Path | Protocol | Status | OtherPseudo)
    }

    /// Whether `ignore_invalid_headers` decides about it.
    pub fn is_odd(self, underscores: bool) -> bool {
        self.flags & ODD != 0 || (!underscores && self.flags & UNDERSCORE != 0)
    }

    pub fn has_bad_name(self) -> bool {
        self.flags & BAD_NAME != 0
    }

    pub fn has_bad_value(self) -> bool {
        self.flags & BAD_VALUE != 0
    }
}

fn meaning(name: &[u8]) -> Meaning {
    match name {
        b":method" => Meaning::Method,
        b":scheme" => Meaning::Scheme,
        b":authority" => Meaning::Authority,
        b":path" => Meaning::Path,
        b":protocol" => Meaning::Protocol,
        b":status" => Meaning::Status,
        [b':', ..] => Meaning::OtherPseudo,
        b"content-length" => Meaning::ContentLength,
        b"cookie" => Meaning::Cookie,
        b"host" => Meaning::Host,
        b"priority" => Meaning::Priority,
        b"te" => Meaning::Te,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Meaning::Connection
        }
        _ => Meaning::None,
    }
}

/// Those of the static table, whose values are all sound.
pub fn of_static(place: usize) -> Nature {
    let meaning = match place + 1 {
        1 => Meaning::Authority,
        2 | 3 => Meaning::Method,
        4 | 5 => Meaning::Path,
        6 | 7 => Meaning::Scheme,
        8..=14 => Meaning::Status,
        28 => Meaning::ContentLength,
        32 => Meaning::Cookie,
        38 => Meaning::Host,
        57 => Meaning::Connection,
        _ => Meaning::None,
    };
    Nature { meaning, flags: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::static_table::ENTRIES;
    use super::*;

    #[test]
    fn the_static_table_is_what_its_names_and_values_are() {
        for (place, (name, value)) in ENTRIES.iter().enumerate() {
            assert_eq!(of_static(place), Nature::of_name(name).with_value(value), "{place}");
        }
    }

    #[test]
    fn a_value_does_not_leave_its_mark_on_the_next() {
        let bad = Nature::of_name(b"a_b").with_value(b"a\n");
        assert!(bad.has_bad_value() && bad.is_odd(false) && !bad.is_odd(true));
        assert!(!bad.with_value(b"a").has_bad_value());
    }
}
