//! Clients that show a certificate: who is believed, and what is known of them.

use std::process::Command;
use std::sync::{Arc, Mutex};

use daemun_tests::{Authority, Identity, Offer, Server, Setup, TlsClient, VERSIONS, client_config};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

fn get(port: u16, identity: &Identity) -> String {
    let config = client_config(VERSIONS[0], Some(identity));
    let answer = TlsClient::connect(port, &config, "one.example").get("/");
    format!("{} {}", answer.status, answer.text())
}

fn site(setup: Setup, content: &str) -> Server {
    setup.identity_of("one.example").http(&format!(
        "ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
         {content}"
    ))
}

#[test]
fn a_chain_may_be_so_long() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let low = middle.below("low");
    let with = |mut identity: Identity, above: &[&Authority]| {
        above.iter().for_each(|one| identity.certificate += &one.pem());
        identity
    };
    let chains = [
        root.issue("zero"),
        with(middle.issue("one"), &[&middle]),
        with(low.issue("two"), &[&low, &middle]),
    ];
    let server = site(
        Setup::new().file("root.crt", root.pem()),
        "ssl_client_certificate {dir}/root.crt; ssl_verify_client optional_no_ca;
         server { listen 127.0.0.1:{port} ssl; ssl_verify_depth 0; return 200 $ssl_client_verify; }
         server { listen 127.0.0.1:{port2} ssl; ssl_verify_depth 1; return 200 $ssl_client_verify; }
         server { listen 127.0.0.1:{port3} ssl; ssl_verify_depth 2; return 200 $ssl_client_verify; }",
    );
    let ports = ["{port}", "{port2}", "{port3}"];
    for (depth, port) in ports.iter().enumerate() {
        let port = server.filled(port).parse().unwrap();
        for (length, chain) in chains.iter().enumerate() {
            let answer = get(port, chain);
            if length <= depth {
                assert_eq!(answer, "200 SUCCESS", "{length} authorities between, depth {depth}");
            } else {
                assert!(answer.starts_with("400 "), "{answer}");
            }
        }
    }
    server.logs("client SSL certificate verify error: (22:certificate chain too long)");
}

#[test]
fn certificates_that_were_taken_back_are_refused() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let setup = Setup::new().file("ca.crt", authority.pem() + &other.pem());
    let setup = setup.file("lists.crl", authority.revoked(&[7, 9]));
    let server = site(
        setup,
        "ssl_client_certificate {dir}/ca.crt; ssl_verify_client on; ssl_crl {dir}/lists.crl;
         server { listen 127.0.0.1:{port} ssl; return 200 $ssl_client_verify; }",
    );
    assert_eq!(get(server.port(), &authority.issue_numbered("good", 8)), "200 SUCCESS");
    assert!(get(server.port(), &authority.issue_numbered("bad", 7)).starts_with("400 "));
    server.logs("client SSL certificate verify error: (23:certificate revoked)");
    // Where lists are, each authority has to have one.
    assert!(get(server.port(), &other.issue_numbered("unlisted", 8)).starts_with("400 "));
    server.logs("client SSL certificate verify error: (3:unable to get certificate CRL)");
}

/// Notes whom a server says that it trusts.
#[derive(Debug, Default)]
struct Hints(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for Hints {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hints.iter().map(|hint| hint.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn some_authorities_are_trusted_and_not_told_of() {
    let (told, silent) = (Authority::new("told"), Authority::new("silent"));
    let setup = Setup::new().file("told.crt", told.pem()).file("silent.crt", silent.pem());
    let server = site(
        setup,
        "ssl_client_certificate {dir}/told.crt; ssl_trusted_certificate {dir}/silent.crt;
         ssl_verify_client optional;
         server { listen 127.0.0.1:{port} ssl; return 200 $ssl_client_verify; }",
    );
    for version in VERSIONS {
        let hints = Arc::new(Hints::default());
        let mut config = Offer::of(version).config();
        config.client_auth_cert_resolver = Arc::clone(&hints) as Arc<_>;
        let mut client = TlsClient::connect(server.port(), &Arc::new(config), "one.example");
        assert_eq!(client.get("/").text(), "NONE");
        let hints = hints.0.lock().unwrap();
        assert_eq!(hints.len(), 1);
        assert!(hints[0].windows(4).any(|part| part == b"told"), "{hints:?}");
    }
    for authority in [told, silent] {
        assert_eq!(get(server.port(), &authority.issue("friend")), "200 SUCCESS");
    }
}

/// As OpenSSL prints it.
fn printed(identity: &Identity, setup: &Setup, arguments: &[&str]) -> String {
    setup.folder.write("printed.crt", &identity.certificate);
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-in"]).arg(setup.folder.path("printed.crt"));
    let output = command.args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().split_once('=').unwrap().1.to_owned()
}

#[test]
fn what_a_certificate_says_can_be_used() {
    let authority = Authority::new("authority");
    let identity = authority.issue("friend");
    let setup = Setup::new().file("ca.crt", authority.pem());
    let fingerprint = printed(&identity, &setup, &["-fingerprint", "-sha1"]);
    let expected = [
        printed(&identity, &setup, &["-subject", "-nameopt", "RFC2253"]),
        printed(&identity, &setup, &["-issuer", "-nameopt", "RFC2253"]),
        printed(&identity, &setup, &["-serial"]),
        fingerprint.replace(':', "").to_lowercase(),
        printed(&identity, &setup, &["-startdate"]),
        printed(&identity, &setup, &["-enddate"]),
    ]
    .join("|");
    let server = site(
        setup,
        "ssl_client_certificate {dir}/ca.crt; ssl_verify_client on;
         server { listen 127.0.0.1:{port} ssl;
             return 200 \"$ssl_client_s_dn|$ssl_client_i_dn|$ssl_client_serial|\
$ssl_client_fingerprint|$ssl_client_v_start|$ssl_client_v_end|$ssl_client_raw_cert\"; }",
    );
    let answer = get(server.port(), &identity);
    assert_eq!(answer, format!("200 {expected}|{}", identity.certificate.replace('\r', "")));
}

/// A client that one server knows is no friend of another that asks for other friends.
#[test]
fn what_a_session_was_made_for_does_not_open_another_server() {
    let (friends, others) = (Authority::new("friends"), Authority::new("others"));
    for state in ["ssl_session_tickets on;", "ssl_session_tickets off;"] {
        let setup = Setup::new().file("friends.crt", friends.pem());
        let server = site(
            setup.file("others.crt", others.pem()),
            &format!(
                "ssl_session_cache shared:all:1m; {state}
                 server {{ listen 127.0.0.1:{{port}} ssl; ssl_verify_client on;
                     ssl_client_certificate {{dir}}/friends.crt; return 200 in; }}
                 server {{ listen 127.0.0.1:{{port2}} ssl; ssl_verify_client on;
                     ssl_client_certificate {{dir}}/others.crt; return 200 in; }}
                 server {{ listen 127.0.0.1:{{port3}} ssl; return 200 in; }}"
            ),
        );
        for version in VERSIONS {
            let config = client_config(version, Some(&friends.issue("friend")));
            let port3 = server.filled("{port3}").parse().unwrap();
            let get = |port| TlsClient::connect(port, &config, "one.example").get("/").status;
            for _ in 0..3 {
                assert_eq!(get(server.port()), 200, "{state}");
                assert_eq!(get(server.port2()), 400, "{state}");
                assert_eq!(get(port3), 200, "{state}");
                assert_eq!(get(server.port2()), 400, "{state}");
            }
        }
    }
}

/// As in nginx, and what `--lint` warns of: which authorities count is settled in the handshake.
#[test]
fn clients_that_say_no_name_are_judged_by_the_default_server() {
    let (friends, others) = (Authority::new("friends"), Authority::new("others"));
    let setup = Setup::new().file("friends.crt", friends.pem()).file("others.crt", others.pem());
    let server = site(
        setup,
        "ssl_verify_client on;
         server { listen 127.0.0.1:{port} ssl default_server; server_name other.example;
             ssl_client_certificate {dir}/friends.crt; return 200 default; }
         server { listen 127.0.0.1:{port} ssl; server_name one.example;
             ssl_client_certificate {dir}/others.crt; return 200 one; }",
    );
    for version in VERSIONS {
        let offer = Offer { identity: Some(friends.issue("friend")), ..Offer::of(version) };
        let mut config = offer.config();
        let get =
            |config| TlsClient::connect(server.port(), &Arc::new(config), "one.example").get("/");
        assert_eq!(get(config.clone()).status, 400, "with a name");
        config.enable_sni = false;
        assert_eq!(get(config).text(), "one", "without");
    }
}
