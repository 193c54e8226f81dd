//! Authorities that are trusted, and how a chain leads to one of them: by the rules of OpenSSL's
//! X509_verify_cert(3), since operators' authorities are made for those.
//!
//! As nginx does, a chain is judged to its end whatever is wrong on the way, and the last fault is the verdict.

use super::crl::Crl;
use super::der::{self, Der};
use super::signature;
use super::time::Time;
use super::{Certificate, Verdict};

/// What an operator trusts.
#[derive(Default)]
pub struct Store {
    /// In DER.
    pub authorities: Vec<Box<[u8]>>,
    /// Lists of what was revoked, in DER. Where there are any, every certificate of a chain has to be on one's
    /// authority's.
    pub lists: Vec<Box<[u8]>>,
    /// How many authorities may stand between a certificate and its root.
    pub depth: usize,
}

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Client,
    Server,
}

impl Store {
    /// Judges a chain, the owner's certificate first, at a moment.
    pub fn judge(&self, shown: &[&[u8]], purpose: Purpose, now: Time) -> Result<(), Verdict> {
        let parsed: Option<Vec<_>> =
            shown.iter().map(|certificate| Certificate::parse(certificate)).collect();
        let shown = parsed.filter(|shown| !shown.is_empty()).ok_or(Verdict::Malformed)?;
        let trusted: Vec<_> =
            self.authorities.iter().filter_map(|own| Certificate::parse(own)).collect();
        let (chain, mut verdict) = self.build(&shown, &trusted);
        let mut fault = |found: Verdict| verdict = Some(found);
        for (depth, certificate) in chain.iter().enumerate() {
            if depth > 0 && !may_sign(certificate) {
                fault(Verdict::InvalidCa);
            }
            if !suits(certificate, purpose) {
                fault(Verdict::UnsuitablePurpose);
            }
        }
        if !self.lists.is_empty() {
            for (depth, certificate) in chain.iter().enumerate() {
                let issuer = chain
                    .get(depth + 1)
                    .or(Some(certificate))
                    .filter(|issuer| issuer.issued(certificate));
                if let Err(found) = self.look_up(certificate, issuer, now) {
                    fault(found);
                }
            }
        }
        self.check_signatures(&chain, now, &mut fault);
        verdict.map_or(Ok(()), Err)
    }

    /// The chain from a certificate to its root, as far as it leads, in DER.
    pub fn path(&self, shown: &[&[u8]]) -> Vec<Box<[u8]>> {
        let parsed: Option<Vec<_>> =
            shown.iter().map(|certificate| Certificate::parse(certificate)).collect();
        let Some(shown) = parsed.filter(|shown| !shown.is_empty()) else { return Vec::new() };
        let trusted: Vec<_> =
            self.authorities.iter().filter_map(|own| Certificate::parse(own)).collect();
        let (chain, _) = self.build(&shown, &trusted);
        chain.iter().map(|certificate| certificate.whole.into()).collect()
    }

    /// The chain as far as it leads, and what is wrong with its end.
    fn build<'b>(
        &self,
        shown: &[Certificate<'b>],
        trusted: &[Certificate<'b>],
    ) -> (Vec<Certificate<'b>>, Option<Verdict>) {
        let most = self.depth + 2;
        let mut chain = vec![shown[0]];
        let mut own = 0;
        loop {
            let last = chain[chain.len() - 1];
            // A certificate that is trusted itself ends the chain if it is its own issuer.
            if last.is_self_issued() {
                let known = trusted.iter().any(|known| known.whole == last.whole);
                let verdict = match (known, chain.len()) {
                    (true, _) => None,
                    (false, 1) => Some(Verdict::SelfSigned),
                    (false, _) => Some(Verdict::SelfSignedInChain),
                };
                return (chain, verdict);
            }
            if chain.len() >= most {
                return (chain, Some(Verdict::ChainTooLong));
            }
            let is_new =
                |issuer: &&Certificate<'b>| !chain.iter().any(|known| known.whole == issuer.whole);
            let next = find_issuer(trusted, &last).filter(is_new);
            let next = match next {
                Some(issuer) => {
                    own += 1;
                    Some(issuer)
                }
                None => find_issuer(&shown[1..], &last).filter(is_new),
            };
            let Some(next) = next else {
                let verdict = match (own, chain.len()) {
                    (0, 1) => Verdict::UnableToVerifyFirst,
                    (0, _) => Verdict::UnableToGetLocalIssuer,
                    _ => Verdict::UnableToGetIssuer,
                };
                return (chain, Some(verdict));
            };
            chain.push(*next);
        }
    }

    fn check_signatures(
        &self,
        chain: &[Certificate<'_>],
        now: Time,
        fault: &mut dyn FnMut(Verdict),
    ) {
        for depth in (0..chain.len()).rev() {
            let certificate = &chain[depth];
            if let Some(issuer) = chain.get(depth + 1)
                && !issuer.signed(certificate.algorithm, certificate.signed, certificate.signature)
            {
                fault(Verdict::SignatureFailure);
            }
            match certificate.lasts() {
                Some((from, _)) if now < from => fault(Verdict::NotYetValid),
                Some((_, to)) if now > to => fault(Verdict::HasExpired),
                Some(_) => {}
                None => fault(Verdict::Malformed),
            }
        }
    }

    fn look_up(
        &self,
        certificate: &Certificate<'_>,
        issuer: Option<&Certificate<'_>>,
        now: Time,
    ) -> Result<(), Verdict> {
        let lists = self.lists.iter().filter_map(|list| Crl::parse(list));
        let mut lists: Vec<_> = lists.filter(|list| list.issuer == certificate.issuer).collect();
        // The newest says most.
        lists.sort_by_key(|list| std::cmp::Reverse(list.made));
        let Some(list) = lists.first() else { return Err(Verdict::UnableToGetCrl) };
        let mut verdict = Ok(());
        if now < list.made {
            verdict = Err(Verdict::CrlNotYetValid);
        }
        if list.next.is_some_and(|next| now > next) {
            verdict = Err(Verdict::CrlHasExpired);
        }
        let is_signed =
            issuer.is_some_and(|issuer| issuer.signed(list.algorithm, list.signed, list.signature));
        if !is_signed {
            verdict = Err(Verdict::CrlSignatureFailure);
        }
        if list.names(certificate.serial) {
            verdict = Err(Verdict::Revoked);
        }
        verdict
    }
}

fn find_issuer<'l, 'b>(
    among: &'l [Certificate<'b>],
    certificate: &Certificate<'b>,
) -> Option<&'l Certificate<'b>> {
    among.iter().find(|issuer| issuer.issued(certificate))
}

impl Certificate<'_> {
    /// Whether this is the authority that the other names, by name and key.
    pub fn issued(&self, other: &Certificate<'_>) -> bool {
        if self.subject != other.issuer {
            return false;
        }
        match (other.authority_key(), self.subject_key()) {
            (Some(named), Some(own)) => named == own,
            _ => true,
        }
    }

    pub fn is_self_issued(&self) -> bool {
        self.issued(self)
    }

    fn signed(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        signature::verify(self.key, algorithm, message, signature)
    }

    /// From and to.
    pub fn lasts(&self) -> Option<(Time, Time)> {
        let mut times = self.validity;
        Some((Time::parse(times.read()?)?, Time::parse(times.read()?)?))
    }

    /// The value of `2.5.29.NUMBER`.
    pub fn extension(&self, number: u8) -> Option<&[u8]> {
        self.extension_of(&[0x55, 0x1d, number])
    }

    /// Authority information access.
    pub fn access(&self) -> Option<&[u8]> {
        self.extension_of(&[0x2b, 6, 1, 5, 5, 7, 1, 1])
    }

    fn extension_of(&self, kind: &[u8]) -> Option<&[u8]> {
        let mut extensions = self.extensions;
        while let Some(mut extension) = extensions.enter(der::SEQUENCE) {
            if extension.take(der::OBJECT_IDENTIFIER)?.content == kind {
                extension.take(der::BOOLEAN);
                return Some(extension.take(der::OCTET_STRING)?.content);
            }
        }
        None
    }

    /// Its authority lets it sign answers about certificates.
    pub fn may_sign_ocsp(&self) -> bool {
        const OCSP_SIGNING: u8 = 9;
        self.extension(37).is_some_and(|usages| has_usage(usages, OCSP_SIGNING))
    }

    fn subject_key(&self) -> Option<&[u8]> {
        Some(Der(self.extension(14)?).take(der::OCTET_STRING)?.content)
    }

    fn authority_key(&self) -> Option<&[u8]> {
        const KEY: u8 = 0x80;
        Some(Der(self.extension(35)?).enter(der::SEQUENCE)?.take(KEY)?.content)
    }
}

/// check_ca() of OpenSSL.
fn may_sign(certificate: &Certificate<'_>) -> bool {
    if let Some(usage) = certificate.extension(15)
        && !has_bit(usage, 5)
    {
        return false;
    }
    match certificate.extension(19) {
        Some(constraints) => {
            let constraints = Der(constraints).enter(der::SEQUENCE);
            constraints
                .and_then(|mut constraints| constraints.take(der::BOOLEAN))
                .is_some_and(|is_ca| is_ca.content != [0])
        }
        // Version 1 has nothing to say it with.
        None if certificate.version == 0 => certificate.is_self_issued(),
        None => certificate.extension(15).is_some(),
    }
}

fn has_bit(usage: &[u8], bit: usize) -> bool {
    let value = Der(usage).take(der::BIT_STRING).map_or(&[][..], |value| value.content);
    value.get(1 + bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
}

fn suits(certificate: &Certificate<'_>, purpose: Purpose) -> bool {
    let wanted = match purpose {
        Purpose::Server => 1,
        Purpose::Client => 2,
    };
    certificate.extension(37).is_none_or(|usages| has_usage(usages, wanted))
}

/// Whether `1.3.6.1.5.5.7.3.NUMBER` is among the extended usages. anyExtendedKeyUsage does not count, as in OpenSSL.
fn has_usage(usages: &[u8], wanted: u8) -> bool {
    let Some(mut usages) = Der(usages).enter(der::SEQUENCE) else { return false };
    while let Some(usage) = usages.take(der::OBJECT_IDENTIFIER) {
        if usage.content == [0x2b, 6, 1, 5, 5, 7, 3, wanted] {
            return true;
        }
    }
    false
}
