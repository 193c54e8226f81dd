//! Priorities of RFC 9218, as data: who serves streams in their order is elsewhere.

/// How urgent a response is, and whether its parts are of use before it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 is served first, 7 last.
    pub urgency: u8,
    pub is_incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, is_incremental: false }
    }
}

impl Priority {
    /// Reads the `priority` field or a PRIORITY_UPDATE frame's value: a dictionary of structured
    /// fields (RFC 9651), of which members that mean nothing here, or have another type, are passed
    /// over.
    pub fn parse(text: &[u8]) -> Priority {
        Priority::default().updated(text)
    }

    /// With what the response's own `priority` field says; what it leaves out stays (RFC 9218,
    /// section 8).
    pub fn updated(self, text: &[u8]) -> Priority {
        let mut priority = self;
        for member in text.split(|byte| *byte == b',') {
            let member = member.split(|byte| *byte == b';').next().unwrap_or_default();
            match member.trim_ascii() {
                [b'u', b'=', digit @ b'0'..=b'7'] => priority.urgency = digit - b'0',
                b"i" | b"i=?1" => priority.is_incremental = true,
                b"i=?0" => priority.is_incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_are_read() {
        let all = |text: &str| {
            let priority = Priority::parse(text.as_bytes());
            (priority.urgency, priority.is_incremental)
        };
        assert_eq!(all(""), (3, false));
        assert_eq!(all("u=0"), (0, false));
        assert_eq!(all("u=5, i"), (5, true));
        assert_eq!(all("i=?1,u=7"), (7, true));
        let asked = Priority { urgency: 5, is_incremental: true };
        assert_eq!(asked.updated(b"u=1"), Priority { urgency: 1, is_incremental: true });
        assert_eq!(asked.updated(b"i=?0"), Priority { urgency: 5, is_incremental: false });
        assert_eq!(all("i, u=2;a=b ,i=?0"), (2, false));
        assert_eq!(all("u=1, u=4"), (4, false));
        for other in
            ["u=8", "u=-1", "u=10", "u", "u=?1", "i=1", "x=1", "U=1", "\0\u{7f}", "u=\"1\""]
        {
            assert_eq!(all(other), (3, false), "{other}");
        }
    }
}
