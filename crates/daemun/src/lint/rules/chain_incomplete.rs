//! Chains in the wrong order, and those of which the middle is missing.

use daemun_tls::x509::Certificate;

use crate::lint::certificates::shown;
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "chain-incomplete",
    explanation: "clients know roots alone: what leads to one has to be in the file behind the server's own \
                  certificate, each followed by its issuer",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for own in shown(site) {
        let parsed: Option<Vec<_>> = own.chain.iter().map(|one| Certificate::parse(one)).collect();
        let Some(parsed) = parsed else { continue };
        let Some(message) = fault(&parsed) else { continue };
        let example = Example::over_tls(site, own.server)
            .shows("is refused by clients that do not look further");
        findings.push(Finding { message: message.to_owned(), span: own.name.span, example });
    }
    findings
}

fn fault(chain: &[Certificate<'_>]) -> Option<&'static str> {
    if chain.windows(2).any(|pair| !pair[1].issued(&pair[0])) {
        return Some("a certificate of the chain is not followed by its issuer");
    }
    // An authority that says where its own certificate can be had expects that one to be shown.
    let is_alone = chain.len() == 1 && !chain[0].is_self_issued();
    (is_alone && names_issuer(&chain[0])).then_some("the certificate's issuer is not in the file")
}

/// Whether the certificate says where that of its issuer is (RFC 5280 section 4.2.2.1).
fn names_issuer(certificate: &Certificate<'_>) -> bool {
    /// id-ad-caIssuers
    const ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let access = certificate.access().unwrap_or_default();
    access.windows(ISSUERS.len()).any(|part| part == ISSUERS)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension};

    use crate::lint::testing::{Authority, Identity, check};

    #[test]
    fn chains_lead_to_their_root() {
        let root = Authority::new();
        let middle = root.below();
        let with = |identity: &Identity, above: &[&Authority]| {
            let more: String = above.iter().map(|one| one.pem()).collect();
            Identity {
                certificate: identity.certificate.clone() + &more,
                key: identity.key.clone(),
            }
        };
        let own = middle.issue(|_| {});
        let good = with(&own, &[&middle, &root]).server("");
        check("chain-incomplete", &with(&own, &[&root, &middle]).server(""), &good);
        let access = [
            &[0x30, 23, 0x30, 21, 6, 8][..],
            &[0x2b, 6, 1, 5, 5, 7, 0x30, 2, 0x86, 9],
            b"http://a/",
        ]
        .concat();
        let naming = middle.issue(|params: &mut CertificateParams| {
            let kind = [1, 3, 6, 1, 5, 5, 7, 1, 1];
            let extension = CustomExtension::from_oid_content(&kind, access);
            params.custom_extensions.push(extension);
        });
        check("chain-incomplete", &naming.server(""), &with(&naming, &[&middle]).server(""));
        check("chain-incomplete", &naming.server(""), &own.server(""));
    }
}
