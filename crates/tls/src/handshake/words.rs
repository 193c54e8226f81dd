//! rustls' errors in OpenSSL's words: people search logs for them.

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use super::Blame;
use crate::fault::alert_name;

/// What went wrong, and who should mind.
pub fn of(error: &Error) -> (String, Blame) {
    let words = match error {
        Error::AlertReceived(alert) => return (of_alert(*alert), Blame::Peer),
        Error::PeerIncompatible(why) => incompatible(why),
        Error::NoCertificatesPresented => "peer did not return a certificate",
        Error::InvalidCertificate(CertificateError::BadSignature) => "bad signature",
        Error::InvalidCertificate(_) => "certificate verify failed",
        Error::DecryptError => "decryption failed or bad record mac",
        Error::NoApplicationProtocol => "no application protocol",
        Error::PeerSentOversizedRecord => "data length too long",
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => "wrong version number",
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "wrong version number",
        Error::InvalidMessage(_) => "bad length",
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "unexpected message"
        }
        Error::PeerMisbehaved(PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported) => {
            "inappropriate fallback"
        }
        Error::PeerMisbehaved(why) => return (format!("(SSL: {why:?})"), Blame::Peer),
        other => return (format!("(SSL: {other})"), Blame::Ourselves),
    };
    (format!("(SSL: {words})"), Blame::Peer)
}

fn of_alert(alert: AlertDescription) -> String {
    let number = u8::from(alert);
    format!("(SSL: {}:SSL alert number {number})", alert_name(number))
}

fn incompatible(why: &PeerIncompatible) -> &'static str {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => "no shared cipher",
        PeerIncompatible::NoKxGroupsInCommon => "no suitable key share",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "no suitable signature algorithm"
        }
        PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "no suitable signature algorithm"
        }
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => "unsupported protocol",
        PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => "missing extension",
        _ => "handshake failure",
    }
}
