//! Sessions that are gone on with: what is kept where, for how long, and what may come early.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use daemun_tests::{
    Authority, Identity, Offer, PATIENCE, Server, Setup, TlsClient, VERSIONS, Version, children,
    eventually, signals,
};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, NamedGroup};

fn site(settings: &str) -> Server {
    site_of(&Authority::new("authority").issue("one.example"), Setup::new(), settings)
}

fn site_of(identity: &Identity, setup: Setup, settings: &str) -> Server {
    setup.identity("one.example", identity).http(&format!(
        "ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
         log_format early \"$uri <$ssl_early_data>\"; {settings}
         server {{ listen 127.0.0.1:{{port}} ssl; access_log {{dir}}/access.log early;
             return 200 \"$pid <$ssl_early_data>\"; }}"
    ))
}

/// Keeps the first session of TLS 1.2 that it hears of, and no other.
#[derive(Debug)]
struct FirstAlone(Mutex<Option<Tls12ClientSessionValue>>, ClientSessionMemoryCache);

impl ClientSessionStore for FirstAlone {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.0.lock().unwrap().get_or_insert(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.1.insert_tls13_ticket(name, session);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.1.take_tls13_ticket(name)
    }
}

fn config(version: Version) -> Arc<ClientConfig> {
    let mut config = Offer::of(version).config();
    let sessions = FirstAlone(Mutex::default(), ClientSessionMemoryCache::new(64));
    config.resumption = Resumption::store(Arc::new(sessions));
    Arc::new(config)
}

/// Whether a handshake goes on with a session, and who answered.
fn resumes(server: &Server, config: &Arc<ClientConfig>) -> (bool, String) {
    let mut client = TlsClient::connect(server.port(), config, "one.example");
    let worker = client.get("/").text().to_owned();
    (client.is_resumed(), worker)
}

#[test]
fn the_server_may_keep_sessions() {
    for kept in ["ssl_session_cache builtin;", "ssl_session_cache shared:sessions:1m;"] {
        let server = site(&format!("ssl_session_tickets off; {kept}"));
        for version in VERSIONS {
            let config = config(version);
            assert!(!resumes(&server, &config).0);
            // With builtin each worker keeps its own, and a client may meet another first.
            let resumed = (0..100).any(|_| resumes(&server, &config).0);
            assert!(resumed, "{kept} {version:?}");
        }
    }
    for none in ["ssl_session_cache none;", "ssl_session_cache off;"] {
        let server = site(&format!("ssl_session_tickets off; {none}"));
        for version in VERSIONS {
            let config = config(version);
            assert!((0..5).all(|_| !resumes(&server, &config).0), "{none} {version:?}");
        }
    }
}

#[test]
fn all_workers_know_the_sessions_of_a_shared_cache() {
    let authority = Authority::new("authority");
    let identity = authority.issue("one.example");
    let text = "ssl_session_tickets off; ssl_session_cache shared:sessions:1m;";
    let server = site_of(&identity, Setup::new(), text);
    let configs = VERSIONS.map(config);
    for config in &configs {
        assert!(!resumes(&server, config).0);
    }
    let mut workers = std::collections::HashSet::new();
    let mut go_on = || {
        for _ in 0..20 {
            for config in &configs {
                let (is_resumed, worker) = resumes(&server, config);
                assert!(is_resumed, "{worker}");
                workers.insert(worker);
            }
        }
    };
    go_on();
    // A reload keeps them.
    let before = children(server.pid());
    server.signal(signals::SIGHUP);
    eventually("the old workers have ended", || {
        children(server.pid()).iter().all(|child| !before.contains(child))
    });
    go_on();
    assert!(workers.len() > 1, "{workers:?}");
}

#[test]
fn sessions_are_over_after_a_while() {
    for state in ["ssl_session_tickets on;", "ssl_session_tickets off; ssl_session_cache builtin;"]
    {
        let server = site(&format!("ssl_session_timeout 1s; {state}"));
        let config = config(VERSIONS[1]);
        resumes(&server, &config);
        eventually("the session is over", || !resumes(&server, &config).0);
        let server = site(&format!("ssl_session_timeout 1h; {state}"));
        let config = self::config(VERSIONS[1]);
        let (_, worker) = resumes(&server, &config);
        let next = (0..100).map(|_| resumes(&server, &config));
        assert!(next.into_iter().all(|(resumed, other)| resumed || other != worker), "{state}");
    }
}

/// Several hosts can know each other's tickets.
#[test]
fn tickets_are_good_wherever_their_key_is() {
    let identity = Authority::new("authority").issue("one.example");
    let key = |length: u8, first: u8| (0..length).map(|byte| byte ^ first).collect::<Vec<u8>>();
    for length in [48, 80] {
        let start = |keys: &[Vec<u8>]| {
            let mut setup = Setup::new();
            let mut settings = String::new();
            for (number, key) in keys.iter().enumerate() {
                setup = setup.file(&format!("ticket{number}.key"), key);
                settings += &format!("ssl_session_ticket_key {{dir}}/ticket{number}.key; ");
            }
            site_of(&identity, setup, &settings)
        };
        let first = start(&[key(length, 0)]);
        let second = start(&[key(length, 128), key(length, 0)]);
        let stranger = start(&[key(length, 128)]);
        for version in VERSIONS {
            let config = config(version);
            assert!(!resumes(&first, &config).0);
            assert!(resumes(&second, &config).0, "{version:?}");
            let config = self::config(version);
            resumes(&first, &config);
            assert!(!resumes(&stranger, &config).0, "{version:?}");
        }
    }
    let setup = Setup::new().identity("one.example", &identity).file("short.key", "short");
    let output = setup.run(
        "events { } http { server { listen 127.0.0.1:{port} ssl;
             ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key;
             ssl_session_ticket_key {dir}/short.key; } }",
        &["-t"],
    );
    assert!(output.stderr.contains("must be 48 or 80 bytes"), "{}", output.stderr);
}

/// A request may come with the first message, and once: whoever sends the same bytes again is not served.
#[test]
fn early_data_is_taken_once() {
    let server = site("ssl_early_data on;");
    let config = Offer { early_data: true, ..Offer::of(VERSIONS[0]) }.config();
    let config = Arc::new(config);
    let early = |uri: &str| {
        let mut client = TlsClient::connect(server.port(), &config, "one.example").record();
        let request = format!("GET {uri} HTTP/1.1\r\nHost: one.example\r\n\r\n");
        let Some(mut writer) = client.0.conn.early_data() else {
            client.send(request.as_bytes());
            return (client.answer().text().to_owned(), Vec::new());
        };
        writer.write_all(request.as_bytes()).unwrap();
        while client.0.conn.is_handshaking() {
            client.0.conn.complete_io(&mut client.0.sock).unwrap();
        }
        if !client.0.conn.is_early_data_accepted() {
            client.send(request.as_bytes());
        }
        let answer = client.answer().text().to_owned();
        (answer, client.0.sock.sent)
    };
    assert!(early("/first").0.ends_with("<>"), "no session leads here yet");
    // Each worker keeps its own sessions.
    let accepted = (0..100).map(|_| early("/early")).find(|(answer, _)| answer.ends_with("<1>"));
    let (_, flight) = accepted.expect("early data is taken");
    let served = || server.folder().read("access.log").matches("/early <1>").count();
    eventually("the request is logged", || served() == 1);
    for _ in 0..5 {
        let mut again = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        again.set_read_timeout(Some(PATIENCE)).unwrap();
        again.write_all(&flight).unwrap();
        again.shutdown(std::net::Shutdown::Write).unwrap();
        // The server makes a handshake of its own, which the client's bytes do not fit.
        let _ = again.read_to_end(&mut Vec::new());
    }
    let mut last = TlsClient::connect(server.port(), &config, "one.example");
    last.get("/last");
    eventually("all is logged", || server.folder().read("access.log").contains("/last"));
    assert_eq!(served(), 1);
}

#[test]
fn nothing_comes_early_unless_that_is_wanted() {
    let server = site("ssl_early_data off;");
    let config = Arc::new(Offer { early_data: true, ..Offer::of(VERSIONS[0]) }.config());
    TlsClient::connect(server.port(), &config, "one.example").get("/");
    let mut client = TlsClient::connect(server.port(), &config, "one.example");
    assert!(client.0.conn.early_data().is_none());
    assert!(client.get("/").text().ends_with("<>"));
    assert!(client.is_resumed());
}
