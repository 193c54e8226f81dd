//! What goes wrong on a connection that speaks TLS, in OpenSSL's words, and what the peer is told.

use std::fmt;
use std::io;

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A record whose protection is wrong.
    BadRecord,
    /// No record of TLS.
    WrongVersion,
    TooLong,
    Unexpected,
    Malformed,
    /// The client wants to negotiate anew, which is never done.
    Renegotiation,
    /// Records that carry nothing, or updates of keys, without end.
    Flood,
    /// A key has protected as much as it may, and the protocol has no way to another.
    Exhausted,
    /// The peer gave up, for the reason that this alert names.
    Alert(u8),
}

impl Fault {
    /// The alert for the peer (RFC 8446 section 6).
    pub fn alert(self) -> Option<u8> {
        Some(match self {
            Fault::BadRecord => 20,
            Fault::TooLong => 22,
            Fault::Unexpected | Fault::Flood => 10,
            Fault::Malformed => 50,
            Fault::WrongVersion => 70,
            Fault::Renegotiation => 100,
            Fault::Exhausted => 80,
            Fault::Alert(_) => return None,
        })
    }

    /// The fault that an error of input or output stands for.
    pub fn of(error: &io::Error) -> Option<Fault> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Fault::BadRecord => "decryption failed or bad record mac",
            Fault::WrongVersion => "wrong version number",
            Fault::TooLong => "data length too long",
            Fault::Unexpected => "unexpected message",
            Fault::Malformed => "bad handshake length",
            Fault::Renegotiation => "no renegotiation",
            Fault::Flood => "too many warning alerts",
            Fault::Exhausted => "key usage limit reached",
            Fault::Alert(number) => {
                let name = alert_name(*number);
                return write!(f, "(SSL: {name}:SSL alert number {number})");
            }
        };
        write!(f, "(SSL: {words})")
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, fault)
    }
}

/// OpenSSL's name of an alert.
pub fn alert_name(alert: u8) -> &'static str {
    match alert {
        0 => "close notify",
        10 => "ssl/tls alert unexpected message",
        20 => "ssl/tls alert bad record mac",
        22 => "tlsv1 alert record overflow",
        40 => "ssl/tls alert handshake failure",
        42 => "ssl/tls alert bad certificate",
        43 => "ssl/tls alert unsupported certificate",
        44 => "ssl/tls alert certificate revoked",
        45 => "ssl/tls alert certificate expired",
        46 => "ssl/tls alert certificate unknown",
        47 => "ssl/tls alert illegal parameter",
        48 => "tlsv1 alert unknown ca",
        49 => "tlsv1 alert access denied",
        50 => "tlsv1 alert decode error",
        51 => "tlsv1 alert decrypt error",
        70 => "tlsv1 alert protocol version",
        71 => "tlsv1 alert insufficient security",
        80 => "tlsv1 alert internal error",
        86 => "tlsv1 alert inappropriate fallback",
        90 => "tlsv1 alert user cancelled",
        100 => "tlsv1 alert no renegotiation",
        109 => "tlsv13 alert missing extension",
        112 => "tlsv1 unrecognized name",
        116 => "tlsv13 alert certificate required",
        120 => "tlsv1 alert no application protocol",
        _ => "ssl/tls alert",
    }
}
