//! What client and server agree on, and how long records are.

use daemun_tests::{Offer, Server, Setup, VERSIONS};
use rustls::CipherSuite::{
    self, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as AES128,
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as AES256,
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 as CHACHA,
};
use rustls::NamedGroup;

fn site(settings: &str) -> Server {
    Setup::new().identity_of("one.example").http(&format!(
        "ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
         server {{ listen 127.0.0.1:{{port}} ssl; {settings} root {{dir}};
             location = / {{ return 200 \"$ssl_protocol $ssl_cipher $ssl_curve\"; }} }}"
    ))
}

/// With TLS 1.2.
fn agreed(server: &Server, suites: &[CipherSuite]) -> Option<String> {
    let offer = Offer { suites: suites.to_vec(), ..Offer::of(VERSIONS[1]) };
    let answer = offer.connect(server.port()).try_get("/").ok()?;
    Some(answer.text().split(' ').nth(1)?.to_owned())
}

#[test]
fn suites_of_tls_1_2_are_those_that_are_named() {
    let server = site("ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:!CHACHA20;");
    let name = Some("ECDHE-ECDSA-AES256-GCM-SHA384".to_owned());
    assert_eq!(agreed(&server, &[AES128, CHACHA, AES256]), name);
    assert_eq!(agreed(&server, &[AES128, CHACHA]), None);
    server.logs("SSL_do_handshake() failed (SSL: no shared cipher)");
    // What is named for TLS 1.2 says nothing of TLS 1.3.
    let answer = Offer::of(VERSIONS[0]).connect(server.port()).get("/");
    assert!(answer.text().starts_with("TLSv1.3 TLS_"), "{}", answer.text());
}

#[test]
fn the_order_of_suites_is_the_clients_or_the_servers() {
    let list = "ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256;";
    for (order, expected) in [
        ("ssl_prefer_server_ciphers on;", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("ssl_prefer_server_ciphers off;", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ssl_conf_command Options ServerPreference;", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ] {
        let server = site(&format!("{list} {order}"));
        assert_eq!(agreed(&server, &[AES128, AES256]).as_deref(), Some(expected), "{order}");
    }
}

#[test]
fn groups_are_those_that_are_named() {
    let server = site("ssl_ecdh_curve secp384r1:X25519;");
    let with = |groups: &[NamedGroup]| {
        let offer = Offer { groups: groups.to_vec(), ..Offer::of(VERSIONS[0]) };
        let answer = offer.connect(server.port()).try_get("/").ok()?;
        Some(answer.text().split(' ').nth(2)?.to_owned())
    };
    assert_eq!(with(&[NamedGroup::secp256r1, NamedGroup::secp384r1]).as_deref(), Some("secp384r1"));
    assert_eq!(with(&[NamedGroup::X25519]).as_deref(), Some("X25519"));
    assert_eq!(with(&[NamedGroup::secp256r1]), None);
    let server = site("");
    let hybrid = Offer { groups: vec![NamedGroup::X25519MLKEM768], ..Offer::of(VERSIONS[0]) };
    let answer = hybrid.connect(server.port()).get("/");
    assert!(answer.text().ends_with(" X25519MLKEM768"), "{}", answer.text());
}

#[test]
fn settings_may_be_made_by_their_names_in_openssl() {
    let text = |server: &Server, version| {
        let answer = Offer::of(version).connect(server.port()).try_get("/").ok()?;
        Some(answer.text().to_owned())
    };
    let server = site("ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;");
    let answer = text(&server, VERSIONS[0]).unwrap();
    assert!(answer.contains(" TLS_CHACHA20_POLY1305_SHA256 "), "{answer}");
    let server = site("ssl_conf_command MinProtocol TLSv1.3;");
    assert_eq!(text(&server, VERSIONS[1]), None);
    assert!(text(&server, VERSIONS[0]).is_some());
    let server = site("ssl_conf_command CipherString CHACHA20; ssl_conf_command Groups P-384;");
    let answer = text(&server, VERSIONS[1]).unwrap();
    assert_eq!(answer, "TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305 secp384r1");
    let setup = Setup::new().identity_of("one.example");
    for command in ["Nonsense on", "Options Nonsense", "Ciphersuites TLS_NONSENSE"] {
        let configuration = format!(
            "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} ssl;
                ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
                ssl_conf_command {command}; }} }}"
        );
        let output = setup.run(&configuration, &["-t"]);
        assert!(output.stderr.contains("SSL_CONF_cmd(\""), "{command}: {}", output.stderr);
        assert_eq!(output.code, Some(1));
    }
}

/// The lengths of the records that carry a long response.
fn records(server: &Server) -> Vec<usize> {
    server.folder().write("long", vec![b'x'; 400_000]);
    let mut client = Offer::of(VERSIONS[0]).connect(server.port());
    client.get("/");
    let mut client = client.record();
    assert_eq!(client.get("/long").body.len(), 400_000);
    let mut rest = &client.0.sock.received[..];
    let mut lengths = Vec::new();
    while let [23, 3, 3, high, low, ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        rest = &rest[5 + length..];
    }
    assert!(rest.is_empty());
    lengths
}

/// The content's type and the tag.
const AROUND: usize = 1 + 16;

#[test]
fn no_record_is_longer_than_is_wanted() {
    for (setting, most) in
        [("ssl_buffer_size 4k;", 4096), ("", 16_384), ("ssl_buffer_size 1k;", 1024)]
    {
        let lengths = records(&site(setting));
        let longest = *lengths.iter().max().unwrap();
        assert_eq!(longest, most + AROUND, "{setting}");
        // A client can read the first ones before the next packet has come.
        assert!(lengths[0] <= 1400, "{setting} {lengths:?}");
    }
}

/// Suites that are never offered are no error as long as something else is.
#[test]
fn lists_that_leave_tls_1_2_nothing_are_told_of() {
    let setup = Setup::new().identity_of("one.example");
    let check = |settings: &str| {
        let configuration = format!(
            "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} ssl; {settings}
                ssl_certificate {{dir}}/one.example.crt;
                ssl_certificate_key {{dir}}/one.example.key; }} }}"
        );
        let output = setup.run(&configuration, &["-t"]);
        (output.code, output.stderr.contains("TLS 1.3 alone is spoken"))
    };
    assert_eq!(check("ssl_ciphers AES128-SHA:AES256-GCM-SHA384;"), (Some(0), true));
    assert_eq!(check("ssl_ciphers DHE-RSA-AES128-GCM-SHA256;"), (Some(0), true));
    assert_eq!(check("ssl_ciphers AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256;"), (Some(0), false));
    assert_eq!(check("ssl_ciphers AES128-SHA; ssl_protocols TLSv1.3;"), (Some(0), false));
    assert_eq!(check("ssl_ciphers AES128-SHA; ssl_protocols TLSv1.2;"), (Some(1), false));
    assert_eq!(check(""), (Some(0), false));
}

#[test]
fn parameters_for_dhe_are_checked_and_warned_of() {
    let parameters = "-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQU=\n-----END DH PARAMETERS-----\n";
    let setup = Setup::new().identity_of("one.example").file("none.pem", "nothing");
    let setup = setup.file("dh.pem", parameters);
    let configuration = |file: &str| {
        format!(
            "events {{ }}
http {{
    server {{
        listen 127.0.0.1:{{port}} ssl;
        ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
        ssl_dhparam {{dir}}/{file};
    }}
}}
"
        )
    };
    let output = setup.run(&configuration("dh.pem"), &["-t"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains("\"ssl_dhparam\" ignored, "), "{}", output.stderr);
    for (file, reason) in [("none.pem", "PEM_read_bio_DHparams("), ("missing.pem", "BIO_new_file(")]
    {
        let output = setup.run(&configuration(file), &["-t"]);
        assert_eq!(output.code, Some(1), "{file}: {}", output.stderr);
        assert!(output.stderr.contains(reason), "{}", output.stderr);
    }
}
