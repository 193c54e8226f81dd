//! Servers behind that are asked over TLS, by HTTP and by uwsgi.

use std::process::Command;

use daemun_tests::{Answer, Authority, Identity, Server, Setup, TlsServer};

/// A setting in the words of both protocols.
type Both = [&'static str; 2];

/// Starts a server that asks another one in both protocols, with these settings, and tells what each comes to.
struct Site {
    server: Server,
}

impl Site {
    fn start(setup: Setup, identity: &Identity, settings: Both) -> Site {
        let port = TlsServer::start(identity).port;
        let [proxy, uwsgi] = settings;
        let server = setup.http(&format!(
            "upstream behind {{ server 127.0.0.1:{port}; }}
             server {{ listen 127.0.0.1:{{port}};
                 location /http {{ proxy_pass https://behind; {proxy} }}
                 location /uwsgi {{ uwsgi_pass suwsgi://behind; {uwsgi}
                     uwsgi_param REQUEST_URI $request_uri; }} }}"
        ));
        Site { server }
    }

    /// What a server behind saw, by either protocol.
    fn each(&self, uri_end: &str) -> [Answer; 2] {
        ["http", "uwsgi"].map(|protocol| {
            let answer = self.server.get(&format!("/{protocol}{uri_end}"));
            if answer.status == 200 {
                assert!(answer.text().contains(&format!("asked={protocol} ")));
            }
            answer
        })
    }

    fn shows(&self, what: &str) {
        for answer in self.each("") {
            assert_eq!(answer.status, 200, "{}", self.server.error_log());
            assert!(answer.text().contains(what), "{what:?} is not in {}", answer.text());
        }
    }
}

fn behind() -> Identity {
    Authority::new("authority").issue("behind.example")
}

#[test]
fn what_is_offered_is_what_the_settings_say() {
    for (settings, expected) in [
        (["proxy_ssl_protocols TLSv1.2;", "uwsgi_ssl_protocols TLSv1.2;"], "version=TLSv1_2"),
        (["proxy_ssl_protocols TLSv1.3;", "uwsgi_ssl_protocols TLSv1.3;"], "version=TLSv1_3"),
        (
            [
                "proxy_ssl_protocols TLSv1.2; proxy_ssl_ciphers CHACHA20;",
                "uwsgi_ssl_protocols TLSv1.2; uwsgi_ssl_ciphers CHACHA20;",
            ],
            "suite=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
        (
            [
                "proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;",
                "uwsgi_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;",
            ],
            "suite=TLS13_AES_128_GCM_SHA256",
        ),
        (
            [
                "proxy_ssl_server_name on; proxy_ssl_name other.example;",
                "uwsgi_ssl_server_name on; uwsgi_ssl_name other.example;",
            ],
            "name=other.example",
        ),
        (["proxy_ssl_name other.example;", "uwsgi_ssl_name other.example;"], "name=-"),
    ] {
        Site::start(Setup::new(), &behind(), settings).shows(expected);
    }
}

#[test]
fn sessions_are_gone_on_with_unless_that_is_not_wanted() {
    let on = ["proxy_ssl_session_reuse on;", "uwsgi_ssl_session_reuse on;"];
    let off = ["proxy_ssl_session_reuse off;", "uwsgi_ssl_session_reuse off;"];
    for (settings, is_wanted) in [(on, true), (off, false)] {
        let site = Site::start(Setup::new(), &behind(), settings);
        let mut resumed = [0, 0];
        // Each worker has its own.
        for _ in 0..40 {
            for (count, answer) in resumed.iter_mut().zip(site.each("")) {
                *count += usize::from(answer.text().contains("session=resumed"));
            }
        }
        assert!(resumed.iter().all(|count| (*count > 0) == is_wanted), "{resumed:?}");
    }
}

/// A key that a passphrase protects, and the passphrase among others.
fn with_client(setup: Setup) -> Setup {
    let setup = setup.identity_of("friend").file("words", "wrong\nright\n");
    let (plain, key) = (setup.folder.path("friend.key"), setup.folder.path("secret.key"));
    let mut command = Command::new("openssl");
    command.args(["pkcs8", "-topk8", "-passout", "pass:right", "-in"]).arg(plain);
    assert!(command.arg("-out").arg(key).status().unwrap().success());
    setup
}

#[test]
fn a_certificate_is_shown_to_servers_that_ask_for_one() {
    let none = ["", ""];
    Site::start(Setup::new(), &behind(), none).shows("client=-");
    let plain = [
        "proxy_ssl_certificate {dir}/friend.crt; proxy_ssl_certificate_key {dir}/friend.key;",
        "uwsgi_ssl_certificate {dir}/friend.crt; uwsgi_ssl_certificate_key {dir}/friend.key;",
    ];
    Site::start(with_client(Setup::new()), &behind(), plain).shows("client=friend");
    let protected = [
        "proxy_ssl_certificate {dir}/friend.crt; proxy_ssl_certificate_key {dir}/secret.key;
         proxy_ssl_password_file {dir}/words;",
        "uwsgi_ssl_certificate {dir}/friend.crt; uwsgi_ssl_certificate_key {dir}/secret.key;
         uwsgi_ssl_password_file {dir}/words;",
    ];
    Site::start(with_client(Setup::new()), &behind(), protected).shows("client=friend");
}

#[test]
fn a_certificate_for_servers_may_depend_on_the_request() {
    let settings = [
        "proxy_ssl_certificate {dir}/$arg_who.crt; proxy_ssl_certificate_key {dir}/$arg_who.key;
         proxy_ssl_session_reuse off; proxy_ssl_certificate_cache max=10 valid=1h inactive=1h;",
        "uwsgi_ssl_certificate {dir}/$arg_who.crt; uwsgi_ssl_certificate_key {dir}/$arg_who.key;
         uwsgi_ssl_session_reuse off; uwsgi_ssl_certificate_cache max=10 valid=1h inactive=1h;",
    ];
    let setup = Setup::new().identity_of("one").identity_of("two").identity_of("three");
    let site = Site::start(setup, &behind(), settings);
    for who in ["one", "two", "three", "one", "two"] {
        for answer in site.each(&format!("?who={who}")) {
            assert!(answer.text().contains(&format!("client={who} ")), "{}", answer.text());
        }
    }
    for answer in site.each("?who=nobody") {
        assert_eq!(answer.status, 500);
    }
    site.server.logs("cannot load certificate");
    // What is remembered outlives its file, in a worker that has read it.
    std::fs::remove_file(site.server.folder().path("one.crt")).unwrap();
    let answers: Vec<_> = (0..40).flat_map(|_| site.each("?who=one")).collect();
    assert!(answers.iter().any(|answer| answer.status == 200));
}

/// A session belongs to the certificate that it was made with.
#[test]
fn sessions_of_one_client_are_not_gone_on_with_by_another() {
    let settings = [
        "proxy_ssl_certificate {dir}/$arg_who.crt; proxy_ssl_certificate_key {dir}/$arg_who.key;",
        "uwsgi_ssl_certificate {dir}/$arg_who.crt; uwsgi_ssl_certificate_key {dir}/$arg_who.key;",
    ];
    let setup = Setup::new().identity_of("one").identity_of("two");
    let site = Site::start(setup, &behind(), settings);
    for who in ["one", "one", "two", "one", "two", "two"] {
        for answer in site.each(&format!("?who={who}")) {
            assert!(answer.text().contains(&format!("client={who} ")), "{}", answer.text());
        }
    }
}

#[test]
fn servers_behind_have_to_prove_who_they_are() {
    let root = Authority::new("root");
    let below = root.below("below");
    let mut chained = below.issue_numbered("behind.example", 7);
    chained.certificate += &below.pem();
    let direct = root.issue_numbered("behind.example", 7);
    let verify = [
        "proxy_ssl_verify on; proxy_ssl_trusted_certificate {dir}/ca.crt;
         proxy_ssl_name behind.example;",
        "uwsgi_ssl_verify on; uwsgi_ssl_trusted_certificate {dir}/ca.crt;
         uwsgi_ssl_name behind.example;",
    ];
    let deep = ["proxy_ssl_verify_depth 1;", "uwsgi_ssl_verify_depth 1;"];
    let flat = ["proxy_ssl_verify_depth 0;", "uwsgi_ssl_verify_depth 0;"];
    let listed = ["proxy_ssl_crl {dir}/crl;", "uwsgi_ssl_crl {dir}/crl;"];
    let renamed = ["proxy_ssl_verify on;", "uwsgi_ssl_verify on;"];
    for (identity, trusted, revoked, more, complaint) in [
        (&direct, &root, 8, listed, ""),
        (&direct, &root, 7, listed, "(23:certificate revoked)"),
        (&direct, &below, 8, renamed, "(21:unable to verify the first certificate)"),
        (&chained, &root, 8, deep, ""),
        (&chained, &root, 8, flat, "(22:certificate chain too long)"),
    ] {
        let setup =
            Setup::new().file("ca.crt", trusted.pem()).file("crl", root.revoked(&[revoked]));
        let settings = [0, 1].map(|which| match more == renamed {
            true => verify[which].to_owned(),
            false => format!("{} {}", verify[which], more[which]),
        });
        let port = TlsServer::start(identity).port;
        let [proxy, uwsgi] = settings;
        let site = Site {
            server: setup.http(&format!(
                "server {{ listen 127.0.0.1:{{port}};
                     location /http {{ proxy_pass https://127.0.0.1:{port}; {proxy} }}
                     location /uwsgi {{ uwsgi_pass suwsgi://127.0.0.1:{port}; {uwsgi} }} }}"
            )),
        };
        let expected = if complaint.is_empty() { 200 } else { 502 };
        for answer in site.each("") {
            assert_eq!(answer.status, expected, "{complaint} {}", site.server.error_log());
        }
        let line = format!("upstream SSL certificate verify error: {complaint}");
        assert!(complaint.is_empty() || site.server.error_log().matches(&line).count() == 2);
    }
}
