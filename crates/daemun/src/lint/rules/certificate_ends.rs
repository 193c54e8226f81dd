//! Certificates that end soon.

use std::time::{SystemTime, UNIX_EPOCH};

use daemun_tls::x509::Certificate;

use crate::lint::certificates::shown;
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "certificate-ends",
    explanation: "clients refuse the server once its certificate has ended; what renews it has not done so yet",
    find,
};

const DAY: i64 = 24 * 3600;

/// Certificates for a few days only have less.
const SOON: i64 = 14 * DAY;

fn find(site: &Site<'_>) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = now.cast_signed();
    let mut findings = Vec::new();
    for own in shown(site) {
        let lasts = Certificate::parse(&own.chain[0]).and_then(|parsed| parsed.lasts());
        let Some((from, until)) = lasts else { continue };
        let soon = SOON.min((until.0 - from.0) / 3);
        let left = until.0 - now;
        if left > soon {
            continue;
        }
        let message = match left {
            ..0 => "the certificate has ended".to_owned(),
            _ => format!("the certificate ends in {} days", left / DAY),
        };
        let example = Example::over_tls(site, own.server).shows("is refused by clients then");
        findings.push(Finding { message, span: own.name.span, example });
    }
    findings
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, date_time_ymd};

    use crate::lint::testing::{Identity, check};

    #[test]
    fn certificates_are_renewed_in_time() {
        let lasting = |until: i32| {
            Identity::new(move |params: &mut CertificateParams| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(until, 1, 1);
            })
        };
        check("certificate-ends", &lasting(2021).server(""), &lasting(2100).server(""));
    }
}
