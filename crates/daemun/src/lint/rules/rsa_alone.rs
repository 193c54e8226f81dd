//! RSA keys without one of ECDSA beside them.

use daemun_http::tls::Tls;
use daemun_http::tls::settings::SETTINGS;
use daemun_tls::x509::Certificate;

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "rsa-alone",
    explanation: "a signature with RSA-2048 costs the server some twelve with ECDSA on P-256 (openssl speed rsa2048 \
                  ecdsap256): a second certificate spares that for all clients of the last ten years",
    find,
};

/// rsaEncryption
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for server in &site.http.servers {
        let Tls::Serves(context) = &server.tls.mode else { continue };
        let chains = context.chains();
        let is_rsa = |chain: &Vec<Box<[u8]>>| {
            let own = chain.first().and_then(|own| Certificate::parse(own));
            own.is_some_and(|own| own.key.windows(RSA.len()).take(16).any(|part| part == RSA))
        };
        let Some(first) = server.settings().of(&SETTINGS).certificates.first() else { continue };
        let span = first.word.span;
        let is_told = findings.iter().any(|finding| finding.span == span);
        if is_told || chains.is_empty() || !chains.iter().all(is_rsa) {
            continue;
        }
        let message = "the certificate's key is one of RSA, and there is no other".to_owned();
        let example =
            Example::over_tls(site, server).shows("costs the server a signature with RSA");
        findings.push(Finding { message, span, example });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn most_clients_need_no_rsa() {
        let (rsa, ecdsa) = (Identity::rsa(), Identity::new(|_| {}));
        let second = format!(
            "ssl_certificate {}; ssl_certificate_key {};",
            ecdsa.certificate(),
            ecdsa.quoted_key()
        );
        check("rsa-alone", &rsa.server(""), &rsa.server(&second));
        check("rsa-alone", &rsa.server(""), &ecdsa.server(""));
    }
}
