//! What is wrong with a certificate: OpenSSL's numbers and words, which people search logs for.

const ALL: [Verdict; 17] = [
    Verdict::UnableToGetIssuer,
    Verdict::UnableToGetCrl,
    Verdict::SignatureFailure,
    Verdict::CrlSignatureFailure,
    Verdict::NotYetValid,
    Verdict::HasExpired,
    Verdict::CrlNotYetValid,
    Verdict::CrlHasExpired,
    Verdict::SelfSigned,
    Verdict::SelfSignedInChain,
    Verdict::UnableToGetLocalIssuer,
    Verdict::UnableToVerifyFirst,
    Verdict::ChainTooLong,
    Verdict::Revoked,
    Verdict::InvalidCa,
    Verdict::UnsuitablePurpose,
    Verdict::Malformed,
];

/// X509_V_ERR_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    UnableToGetIssuer = 2,
    UnableToGetCrl = 3,
    SignatureFailure = 7,
    CrlSignatureFailure = 8,
    NotYetValid = 9,
    HasExpired = 10,
    CrlNotYetValid = 11,
    CrlHasExpired = 12,
    SelfSigned = 18,
    SelfSignedInChain = 19,
    UnableToGetLocalIssuer = 20,
    UnableToVerifyFirst = 21,
    ChainTooLong = 22,
    Revoked = 23,
    InvalidCa = 79,
    UnsuitablePurpose = 26,
    Malformed = 1,
}

impl Verdict {
    /// The one that [`number`](Self::number) stands for.
    pub fn of(number: u8) -> Option<Verdict> {
        ALL.into_iter().find(|verdict| *verdict as u8 == number)
    }

    pub fn number(self) -> i32 {
        self as i32
    }

    pub fn words(self) -> &'static str {
        match self {
            Verdict::UnableToGetIssuer => "unable to get issuer certificate",
            Verdict::UnableToGetCrl => "unable to get certificate CRL",
            Verdict::SignatureFailure => "certificate signature failure",
            Verdict::CrlSignatureFailure => "CRL signature failure",
            Verdict::NotYetValid => "certificate is not yet valid",
            Verdict::HasExpired => "certificate has expired",
            Verdict::CrlNotYetValid => "CRL is not yet valid",
            Verdict::CrlHasExpired => "CRL has expired",
            Verdict::SelfSigned => "self-signed certificate",
            Verdict::SelfSignedInChain => "self-signed certificate in certificate chain",
            Verdict::UnableToGetLocalIssuer => "unable to get local issuer certificate",
            Verdict::UnableToVerifyFirst => "unable to verify the first certificate",
            Verdict::ChainTooLong => "certificate chain too long",
            Verdict::Revoked => "certificate revoked",
            Verdict::InvalidCa => "invalid CA certificate",
            Verdict::UnsuitablePurpose => "unsuitable certificate purpose",
            Verdict::Malformed => "unspecified certificate verification error",
        }
    }
}
