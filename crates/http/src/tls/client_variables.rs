//! `$ssl_client_*`: what a client's certificate says, and what was thought of it.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use daemun_tls::facts::ClientCertificate;
use daemun_tls::x509::time::Time;
use daemun_tls::x509::{Certificate, name};
use sha1::{Digest, Sha1};

use super::settings::SETTINGS;
use super::settings::VerifyClient;
use crate::module::Variable;
use crate::request::Request;

pub(super) const VARIABLES: &[Variable] = &[
    Variable::changeable("ssl_client_cert", |r, _, out| {
        with(r, |client| {
            let mut text = Vec::new();
            let found = pem(client, &mut text);
            // Lines that go on begin with a tab, so that it can be a header's value.
            for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
                if index > 0 {
                    out.extend_from_slice(b"\n\t");
                }
                out.extend_from_slice(line);
            }
            found
        })
    }),
    Variable::changeable("ssl_client_raw_cert", |r, _, out| {
        with(r, |client| {
            let found = pem(client, out);
            out.push(b'\n');
            found
        })
    }),
    Variable::changeable("ssl_client_escaped_cert", |r, _, out| {
        with(r, |client| {
            let mut text = Vec::new();
            let found = pem(client, &mut text);
            text.push(b'\n');
            for byte in text {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        out.push(byte);
                    }
                    byte => out.extend(format!("%{byte:02X}").bytes()),
                }
            }
            found
        })
    }),
    Variable::changeable("ssl_client_s_dn", |r, _, out| {
        of(r, |client| add(name::rfc2253(client.subject).as_bytes(), out))
    }),
    Variable::changeable("ssl_client_i_dn", |r, _, out| {
        of(r, |client| add(name::rfc2253(client.issuer).as_bytes(), out))
    }),
    Variable::changeable("ssl_client_s_dn_legacy", |r, _, out| {
        of(r, |client| add(name::one_line(client.subject).as_bytes(), out))
    }),
    Variable::changeable("ssl_client_i_dn_legacy", |r, _, out| {
        of(r, |client| add(name::one_line(client.issuer).as_bytes(), out))
    }),
    Variable::changeable("ssl_client_serial", |r, _, out| {
        of(r, |client| {
            let zeros = client.serial.iter().take_while(|byte| **byte == 0).count();
            let digits = &client.serial[zeros.min(client.serial.len() - 1)..];
            digits.iter().for_each(|byte| out.extend(format!("{byte:02X}").bytes()));
            true
        })
    }),
    Variable::changeable("ssl_client_fingerprint", |r, _, out| {
        of(r, |client| {
            let digest = Sha1::digest(client.whole);
            digest.iter().for_each(|byte| out.extend(format!("{byte:02x}").bytes()));
            true
        })
    }),
    Variable::changeable("ssl_client_v_start", |r, _, out| {
        of(r, |client| client.lasts().is_some_and(|(from, _)| add_time(from, out)))
    }),
    Variable::changeable("ssl_client_v_end", |r, _, out| {
        of(r, |client| client.lasts().is_some_and(|(_, to)| add_time(to, out)))
    }),
    Variable::changeable("ssl_client_v_remain", |r, _, out| {
        let now = daemun_event::wall_clock().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs().cast_signed();
        of(r, |client| {
            client.lasts().is_some_and(|(_, to)| {
                let days = (to.0 - now).max(0) / 86_400;
                add(days.to_string().as_bytes(), out)
            })
        })
    }),
    Variable::changeable("ssl_client_verify", verify),
];

fn verify(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(facts) = request.tls() else { return false };
    let is_asked = *request.server.settings().of(&SETTINGS).verify_client != VerifyClient::Off;
    match facts.client.as_ref().filter(|_| is_asked) {
        None => add(b"NONE", out),
        Some(client) => match client.refused {
            None => match client.status {
                None => add(b"SUCCESS", out),
                Some(words) => add(format!("FAILED:{words}").as_bytes(), out),
            },
            Some(verdict) => add(format!("FAILED:{}", verdict.words()).as_bytes(), out),
        },
    }
}

fn with(request: &Request, value: impl FnOnce(&ClientCertificate) -> bool) -> bool {
    let client = request.tls().and_then(|facts| facts.client.as_ref());
    client.is_some_and(|client| value(client))
}

fn of(request: &Request, value: impl FnOnce(&Certificate<'_>) -> bool) -> bool {
    with(request, |client| {
        Certificate::parse(&client.chain[0]).is_some_and(|client| value(&client))
    })
}

fn add(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    true
}

fn add_time(time: Time, out: &mut Vec<u8>) -> bool {
    // Writing to memory can't fail.
    let _ = write!(out, "{time}");
    true
}

/// The client's own certificate, without the last line's end.
fn pem(client: &ClientCertificate, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(&client.chain[0]).as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(b"-----END CERTIFICATE-----");
    true
}
