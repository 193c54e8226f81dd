//! `ssl_stapling` for certificates that name nobody to ask.

use daemun_http::tls::settings::SETTINGS;

use crate::lint::certificates::shown;
use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "stapling-no-responder",
    explanation: "most authorities have stopped answering about single certificates: where the certificate names no \
                  responder, nothing goes along with it",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for own in shown(site) {
        let settings = own.server.settings().of(&SETTINGS);
        let is_given = settings.stapling_file.is_some() || settings.stapling_responder.is_some();
        if !*settings.stapling || is_given || daemun_tls::ocsp::responder(&own.chain[0]).is_some() {
            continue;
        }
        let message =
            "\"ssl_stapling\" does nothing: the certificate names no responder".to_owned();
        let example =
            Example::over_tls(site, own.server).shows("comes without an authority's word");
        findings.push(Finding { message, span: own.name.span, example });
    }
    findings
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn there_is_somebody_to_ask() {
        let own = Identity::new(|_| {});
        let server = |line: &str| own.server(line);
        let bad = server("ssl_stapling on;");
        check("stapling-no-responder", &bad, &server("ssl_stapling off;"));
        let asked = "ssl_stapling on; ssl_stapling_responder http://127.0.0.1/;";
        check("stapling-no-responder", &bad, &server(asked));
    }
}
