//! Servers of one address that ask for certificates of different authorities.

use daemun_http::config::Server;
use daemun_http::tls::settings::{SETTINGS, VerifyClient};

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "client-ca-elsewhere",
    explanation: "a client that says no name in the handshake is judged by the address's default server: whom that \
                  one's authorities vouch for may ask every other server of the address",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (address, shared) in site.http.addresses().filter(|(_, shared)| shared.ssl) {
        let default = &site.http.servers[shared.default];
        let Some(theirs) = authorities(default) else { continue };
        for index in site.http.servers_on(address) {
            let server = &site.http.servers[index];
            let Some(own) = authorities(server) else { continue };
            let settings = server.settings().of(&SETTINGS);
            let file =
                settings.client_certificate.as_ref().or(settings.trusted_certificate.as_ref());
            let (true, Some(file)) = (own != theirs, file) else { continue };
            if findings.iter().any(|finding| finding.span == file.span) {
                continue;
            }
            let message = format!(
                "the default server of {address} takes certificates of other authorities, for this one as well"
            );
            let example = Example::over_tls(site, server)
                .shows("is answered where a client says no name and the default server knows it");
            findings.push(Finding { message, span: file.span, example });
        }
    }
    findings
}

/// The files with the authorities that clients' certificates have to come from.
fn authorities(server: &Server) -> Option<[Option<Vec<u8>>; 2]> {
    let settings = server.settings().of(&SETTINGS);
    if !matches!(*settings.verify_client, VerifyClient::On | VerifyClient::Optional) {
        return None;
    }
    let files = [&settings.client_certificate, &settings.trusted_certificate];
    Some(files.map(|file| file.as_ref().map(|word| word.text.to_vec())))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::{Identity, check};

    #[test]
    fn who_is_known_to_one_server_is_no_friend_of_another() {
        let (own, one, two) = (Identity::new(|_| {}), Identity::new(|_| {}), Identity::new(|_| {}));
        let known = |identity: &Identity| {
            format!("ssl_verify_client on; ssl_client_certificate {};", identity.certificate())
        };
        let pair = |first: String, second: String| {
            let second = own.server(&format!("server_name b.example; {second}"));
            own.server(&first).replace("443 ssl", "443 ssl default_server") + &second
        };
        let bad = pair(known(&one), known(&two));
        check("client-ca-elsewhere", &bad, &pair(known(&one), known(&one)));
        check("client-ca-elsewhere", &bad, &pair(String::new(), known(&two)));
    }
}
