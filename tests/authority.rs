//! Certificates for tests: authorities, what they issue and what they take back.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

use crate::Setup;

/// A certificate, with those that lead from it to its root, and its key, in PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

/// An authority, and what can be had from it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(authority(name), key).unwrap() }
    }

    /// An authority that this one vouches for.
    pub fn below(&self, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        Authority {
            issuer: CertifiedIssuer::signed_by(authority(name), key, &self.issuer).unwrap(),
        }
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// In PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// In DER.
    pub fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(&KeyPair::generate().unwrap(), named(name))
    }

    /// A certificate that can be taken back by its number.
    pub fn issue_numbered(&self, name: &str, number: u64) -> Identity {
        let mut params = named(name);
        params.serial_number = Some(SerialNumber::from(number));
        self.issue_for(&KeyPair::generate().unwrap(), params)
    }

    pub fn issue_for(&self, key: &KeyPair, params: CertificateParams) -> Identity {
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A list of the certificates that are taken back, by their numbers, in PEM.
    pub fn revoked(&self, numbers: &[u64]) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Setup {
    /// Files for a server of that name: `NAME.crt` and `NAME.key`.
    pub fn identity(self, name: &str, identity: &Identity) -> Setup {
        let setup = self.file(&format!("{name}.crt"), &identity.certificate);
        setup.file(&format!("{name}.key"), &identity.key)
    }

    /// The same, of an authority that nobody knows.
    pub fn identity_of(self, name: &str) -> Setup {
        self.identity(name, &Authority::new("authority").issue(name))
    }
}

/// What a certificate for a name says.
pub fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
