//! What a server shows of itself: files, keys, chains, and what goes along with them.

use std::process::Command;
use std::sync::{Arc, Mutex};

use daemun_tests::{
    Authority, Identity, Offer, Server, Setup, TlsClient, VERSIONS, client_config, params_of,
};
use flate2::{Decompress, FlushDecompress};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use rustls::compress::{CertDecompressor, DecompressionFailed};
use rustls::{CertificateCompressionAlgorithm, KeyLog, SignatureScheme};

/// An identity whose key is protected as this command of OpenSSL does it.
fn protected(setup: Setup, name: &str, arguments: &[&str]) -> Setup {
    let setup = setup.identity_of(name);
    let path = setup.folder.path(format!("{name}.key"));
    let mut command = Command::new("openssl");
    command.args(arguments).arg("-in").arg(&path).arg("-out").arg(path.with_extension("new"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A worker reads it, under another name than who starts the server.
    let key = std::fs::read(path.with_extension("new")).unwrap();
    setup.file(&format!("{name}.key"), key)
}

/// The server's own certificate as a new client sees it, and who answered.
fn shown(server: &Server, name: &str) -> (Vec<u8>, String) {
    let mut client = TlsClient::connect(server.port(), &client_config(VERSIONS[0], None), name);
    let worker = client.get("/").text().to_owned();
    (client.shown().remove(0), worker)
}

const PKCS8: &[&str] = &["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:first"];
const WEAK: &[&str] = &["pkcs8", "-topk8", "-v2", "des3", "-passout", "pass:second"];
const OLD: &[&str] = &["ec", "-aes128", "-passout", "pass:second"];

#[test]
fn keys_may_be_protected_by_passphrases() {
    let mut setup = Setup::new().file("words", "wrong\nfirst\n\nsecond\n").file("bad", "wrong\n");
    for (name, how) in [("pkcs8.example", PKCS8), ("weak.example", WEAK), ("old.example", OLD)] {
        setup = protected(setup, name, how);
        let check = |words: &str| {
            let configuration = format!(
                "events {{ }} http {{ server {{ listen 127.0.0.1:{{port}} ssl; {words}
                    ssl_certificate {{dir}}/{name}.crt; ssl_certificate_key {{dir}}/{name}.key; }} }}"
            );
            setup.run(&configuration, &["-t"]).stderr
        };
        let right = check("ssl_password_file {dir}/words;");
        assert!(right.contains("test is successful"), "{name}: {right}");
        assert!(check("ssl_password_file {dir}/bad;").contains("bad decrypt"), "{name}");
        assert!(check("").contains("cannot load certificate key"), "{name}");
    }
    let server = setup.http(
        "ssl_certificate {dir}/$ssl_server_name.crt; ssl_certificate_key {dir}/$ssl_server_name.key;
         ssl_password_file {dir}/words;
         server { listen 127.0.0.1:{port} ssl; return 200 $pid; }",
    );
    for name in ["pkcs8.example", "weak.example", "old.example"] {
        let (certificate, _) = shown(&server, name);
        assert!(certificate.windows(name.len()).any(|part| part == name.as_bytes()));
    }
}

#[test]
fn certificates_from_variables_are_remembered_if_that_is_wanted() {
    let cached = "ssl_certificate_cache max=10 valid=1h inactive=1h;";
    for (cache, is_remembered) in [("ssl_certificate_cache off;", false), (cached, true)] {
        let server = Setup::new().identity_of("one.example").http(&format!(
            "ssl_certificate {{dir}}/$ssl_server_name.crt;
             ssl_certificate_key {{dir}}/$ssl_server_name.key; {cache}
             server {{ listen 127.0.0.1:{{port}} ssl; return 200 $pid; }}"
        ));
        let (before, worker) = shown(&server, "one.example");
        let new = Authority::new("another").issue("one.example");
        server.folder().write("one.example.crt", &new.certificate);
        server.folder().write("one.example.key", &new.key);
        // Each worker remembers for itself.
        let after = (0..100).map(|_| shown(&server, "one.example"));
        let (after, _) = after.into_iter().find(|(_, other)| *other == worker).unwrap();
        assert_eq!(after == before, is_remembered, "{cache}");
    }
}

#[test]
fn certificates_may_stand_in_the_configuration() {
    let Identity { certificate, key } = Authority::new("authority").issue("one.example");
    let server = Server::http(&format!(
        "ssl_certificate \"data:{certificate}\"; ssl_certificate_key \"data:{key}\";
         server {{ listen 127.0.0.1:{{port}} ssl; return 200 $pid; }}"
    ));
    let identity = Identity { certificate, key };
    assert_eq!(shown(&server, "one.example").0, identity.parsed().0[0].to_vec());
}

/// What leads to the root goes along, and nothing that is not named.
#[test]
fn chains_are_shown_as_they_stand_in_the_file() {
    let root = Authority::new("root");
    let below = root.below("below");
    let mut identity = below.issue("one.example");
    identity.certificate += &below.pem();
    let alone = below.issue("two.example");
    let setup = Setup::new().identity("one.example", &identity).identity("two.example", &alone);
    let server = setup.file("root.crt", below.pem() + &root.pem()).http(
        "ssl_trusted_certificate {dir}/root.crt;
         server { listen 127.0.0.1:{port} ssl; server_name one.example; return 200;
             ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key; }
         server { listen 127.0.0.1:{port} ssl; server_name two.example; return 200;
             ssl_certificate {dir}/two.example.crt; ssl_certificate_key {dir}/two.example.key; }",
    );
    for (name, expected) in [("one.example", identity), ("two.example", alone)] {
        let config = client_config(VERSIONS[0], None);
        let mut client = TlsClient::connect(server.port(), &config, name);
        client.get("/");
        let chain: Vec<_> = expected.parsed().0.iter().map(|one| one.to_vec()).collect();
        assert_eq!(client.shown(), chain, "{name}");
    }
}

#[test]
fn of_several_certificates_the_client_gets_one_that_it_can_verify() {
    let authority = Authority::new("authority");
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let rsa = authority.issue_for(&rsa, params_of("one.example"));
    let ecdsa = authority.issue("one.example");
    let server = Setup::new().identity("rsa", &rsa).identity("ecdsa", &ecdsa).http(
        "ssl_certificate {dir}/rsa.crt; ssl_certificate_key {dir}/rsa.key;
         ssl_certificate {dir}/ecdsa.crt; ssl_certificate_key {dir}/ecdsa.key;
         server { listen 127.0.0.1:{port} ssl; return 200 $ssl_sigalg; }",
    );
    let (rsa, ecdsa) = (rsa.parsed().0, ecdsa.parsed().0);
    for version in VERSIONS {
        for (scheme, certificate) in [
            (SignatureScheme::RSA_PSS_SHA256, &rsa[0]),
            (SignatureScheme::ECDSA_NISTP256_SHA256, &ecdsa[0]),
        ] {
            let offer = Offer { schemes: vec![scheme], ..Offer::of(version) };
            let mut client = offer.connect(server.port());
            client.get("/");
            assert_eq!(client.shown()[0], certificate.to_vec(), "{version:?} {scheme:?}");
        }
    }
}

/// Counts what it unpacks.
#[derive(Debug, Default)]
struct Unpacks(Mutex<usize>);

impl CertDecompressor for Unpacks {
    fn decompress(&self, input: &[u8], output: &mut [u8]) -> Result<(), DecompressionFailed> {
        let mut zlib = Decompress::new(true);
        zlib.decompress(input, output, FlushDecompress::Finish).map_err(|_| DecompressionFailed)?;
        *self.0.lock().unwrap() += 1;
        (zlib.total_out() == output.len() as u64).then_some(()).ok_or(DecompressionFailed)
    }

    fn algorithm(&self) -> CertificateCompressionAlgorithm {
        CertificateCompressionAlgorithm::Zlib
    }
}

#[test]
fn certificates_are_packed_for_clients_that_can_have_it_so() {
    for (setting, packed) in
        [("ssl_certificate_compression on;", 1), ("ssl_certificate_compression off;", 0)]
    {
        let server = Setup::new().identity_of("one.example").http(&format!(
            "server {{ listen 127.0.0.1:{{port}} ssl; {setting} return 200 fine;
                ssl_certificate {{dir}}/one.example.crt;
                ssl_certificate_key {{dir}}/one.example.key; }}"
        ));
        let unpacks: &'static Unpacks = Box::leak(Box::default());
        let mut config = Offer::of(VERSIONS[0]).config();
        config.cert_decompressors = vec![unpacks];
        let mut client = TlsClient::connect(server.port(), &Arc::new(config), "one.example");
        assert_eq!(client.get("/").text(), "fine");
        assert_eq!(*unpacks.0.lock().unwrap(), packed, "{setting}");
        // Who can't have it so gets it as it is.
        assert_eq!(Offer::of(VERSIONS[0]).connect(server.port()).get("/").text(), "fine");
    }
}

/// The lines that a client would write itself.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let line = format!("{label} {} {}", hex(client_random), hex(secret));
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn secrets_are_written_where_somebody_looks_into_connections() {
    let server = Setup::new().identity_of("one.example").http(
        "server { listen 127.0.0.1:{port} ssl; ssl_key_log {dir}/keys; return 200;
             ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key; }",
    );
    for version in VERSIONS {
        let lines = Arc::new(Lines::default());
        let mut config = Offer::of(version).config();
        config.key_log = Arc::clone(&lines) as Arc<_>;
        TlsClient::connect(server.port(), &Arc::new(config), "one.example").get("/");
        let written = server.folder().read("keys");
        let lines = lines.0.lock().unwrap();
        let wanted = lines.iter().filter(|line| !line.starts_with("EXPORTER"));
        assert!(wanted.clone().count() > 0);
        for line in wanted {
            assert!(written.contains(line), "{line} is not in\n{written}");
        }
    }
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(server.folder().path("keys")).unwrap(),
    );
    assert_eq!(mode & 0o777, 0o600, "nobody else reads it");
}
