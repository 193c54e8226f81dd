//! Why a request is refused for what its connection is: plain where TLS is spoken, or by a client whose certificate
//! will not do.

use daemun_core::log;
use daemun_tls::x509::Verdict;

use super::settings::{SETTINGS, VerifyClient};
use crate::config::Server;
use crate::request::Request;
use crate::status::Status;

/// The status that a request is refused with before it is looked at.
#[inline]
pub fn objection(request: &Request) -> Option<Status> {
    // A request that is only explained comes over no connection.
    if !request.config.has_tls || request.trace.is_some() {
        return None;
    }
    match request.tls() {
        None => plain(request),
        Some(_) => client(request),
    }
}

fn plain(request: &Request) -> Option<Status> {
    if !request.virtual_servers().ssl {
        return None;
    }
    log!(request.log(), Info, *request, "client sent plain HTTP request to HTTPS port");
    Some(Status::TO_HTTPS)
}

/// Whether clients of a server are asked for a certificate.
pub fn verifies_clients(server: &Server) -> bool {
    *server.settings().of(&SETTINGS).verify_client != VerifyClient::Off
}

fn client(request: &Request) -> Option<Status> {
    let facts = request.tls()?;
    let verify = *request.server.settings().of(&SETTINGS).verify_client;
    let refused = match (verify, &facts.client) {
        (VerifyClient::Off, _) => return None,
        (VerifyClient::On, None) => {
            log!(request.log(), Info, *request, "client sent no required SSL certificate");
            return Some(Status::NO_CERTIFICATE);
        }
        (_, client) => {
            let client = client.as_ref()?;
            if let Some(words) = client.status {
                let log = request.log();
                log!(log, Info, *request, "client SSL certificate verify error: {}", words);
                return Some(Status::CERTIFICATE_ERROR);
            }
            client.refused?
        }
    };
    if verify == VerifyClient::OptionalNoCa && is_only_unknown(refused) {
        return None;
    }
    let (number, words) = (refused.number(), refused.words());
    log!(
        request.log(),
        Info,
        *request,
        "client SSL certificate verify error: ({}:{})",
        number,
        words
    );
    Some(Status::CERTIFICATE_ERROR)
}

/// Nobody known has vouched for the certificate, and that is all.
fn is_only_unknown(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::SelfSigned
            | Verdict::SelfSignedInChain
            | Verdict::UnableToGetLocalIssuer
            | Verdict::UnableToVerifyFirst
    )
}
