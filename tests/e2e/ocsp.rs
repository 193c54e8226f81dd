//! What authorities say of certificates: sent along with the server's own, and asked about clients'.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use daemun_tests::{
    Authority, Folder, Identity, Offer, PATIENCE, Server, Setup, TlsClient, VERSIONS,
    client_config, eventually, free_port,
};

/// A responder: OpenSSL makes its answers, from a list of certificates that are good or taken back.
struct Responder {
    port: u16,
    questions: Arc<AtomicUsize>,
    folder: Arc<Folder>,
}

impl Responder {
    /// For certificates of an authority by their numbers; answers are signed by `signer`.
    fn start(authority: &Authority, signer: &Authority, good: u64, revoked: u64) -> Responder {
        let folder = Folder::fresh();
        folder.write("ca.crt", authority.pem());
        folder.write("signer.crt", signer.pem());
        folder.write("signer.key", signer.key());
        folder.write(
            "index",
            format!(
                "V\t491231235959Z\t\t{good:02X}\tunknown\t/CN=good\n\
                 R\t491231235959Z\t250101000000Z\t{revoked:02X}\tunknown\t/CN=bad\n"
            ),
        );
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = listener.local_addr().unwrap().port();
        let responder = Responder { port, questions: Arc::default(), folder: Arc::new(folder) };
        let (questions, folder) = (Arc::clone(&responder.questions), Arc::clone(&responder.folder));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                questions.fetch_add(1, Ordering::SeqCst);
                let _ = answer(stream, &folder);
            }
        });
        responder
    }

    /// The answer to a question about a certificate, as it goes over the wire.
    fn answer_about(&self, identity: &Identity) -> Vec<u8> {
        self.folder.write("asked.crt", &identity.certificate);
        let path = |name| self.folder.path(name);
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-no_nonce", "-issuer"]).arg(path("ca.crt")).arg("-cert");
        command.arg(path("asked.crt")).arg("-reqout").arg(path("asked.der"));
        assert!(command.output().unwrap().status.success());
        respond(&self.folder, &path("asked.der"))
    }

    fn asked(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, folder: &Folder) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&bytes[..read]);
    }
    let text = String::from_utf8(request).ok()?;
    let question = text.strip_prefix("GET /")?.split(' ').next()?;
    let question = question.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    folder.write("question.b64", question + "\n");
    let der = folder.path("question.der");
    let mut command = Command::new("openssl");
    command.args(["base64", "-d", "-A", "-in"]).arg(folder.path("question.b64"));
    command.arg("-out").arg(&der).status().ok()?;
    let body = respond(folder, &der);
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

fn respond(folder: &Folder, question: &Path) -> Vec<u8> {
    let path = |name| folder.path(name);
    let mut command = Command::new("openssl");
    command
        .args(["ocsp", "-ndays", "7", "-index"])
        .arg(path("index"))
        .arg("-CA")
        .arg(path("ca.crt"));
    command.arg("-rsigner").arg(path("signer.crt")).arg("-rkey").arg(path("signer.key"));
    command.arg("-reqin").arg(question).arg("-respout").arg(path("answer.der"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(path("answer.der")).unwrap()
}

/// What comes along with the certificate.
fn staple(server: &Server) -> Vec<u8> {
    let offer = Offer::of(VERSIONS[0]);
    offer.connect(server.port()).get("/");
    let staple = offer.staples.lock().unwrap().pop();
    staple.unwrap()
}

fn stapling_site(authority: &Authority, number: u64, settings: &str) -> Server {
    let identity = authority.issue_numbered("one.example", number);
    Setup::new().identity("one.example", &identity).file("ca.crt", authority.pem()).http(&format!(
        "ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
         ssl_stapling on; ssl_trusted_certificate {{dir}}/ca.crt; {settings}
         server {{ listen 127.0.0.1:{{port}} ssl; return 200; }}"
    ))
}

#[test]
fn an_authoritys_word_goes_along_with_the_certificate() {
    let authority = Authority::new("authority");
    let responder = Responder::start(&authority, &authority, 7, 8);
    let settings = format!(
        "ssl_stapling_responder http://127.0.0.1:{}/; ssl_stapling_verify on;",
        responder.port
    );
    let server = stapling_site(&authority, 7, &settings);
    eventually("the answer goes along", || !staple(&server).is_empty());
    eventually("each worker has it", || (0..20).all(|_| !staple(&server).is_empty()));
    assert!(responder.asked() < 20, "an answer is kept");
    let server = stapling_site(&authority, 8, &settings);
    eventually("the server has asked", || {
        assert!(staple(&server).is_empty());
        server.error_log().contains("certificate status \"revoked\" in the OCSP response")
    });
    assert!(staple(&server).is_empty());
}

#[test]
fn strangers_have_no_word_where_that_is_looked_at() {
    let (authority, stranger) = (Authority::new("authority"), Authority::new("stranger"));
    let responder = Responder::start(&authority, &stranger, 7, 8);
    let settings = format!("ssl_stapling_responder http://127.0.0.1:{}/;", responder.port);
    let server = stapling_site(&authority, 7, &format!("{settings} ssl_stapling_verify on;"));
    eventually("the server has asked", || {
        assert!(staple(&server).is_empty());
        server.error_log().contains("OCSP_basic_verify() failed")
    });
    let server = stapling_site(&authority, 7, &format!("{settings} ssl_stapling_verify off;"));
    eventually("the answer goes along", || !staple(&server).is_empty());
}

#[test]
fn an_authoritys_word_may_be_in_a_file() {
    let authority = Authority::new("authority");
    let responder = Responder::start(&authority, &authority, 7, 8);
    let identity = authority.issue_numbered("one.example", 7);
    let word = responder.answer_about(&identity);
    let server = Setup::new().identity("one.example", &identity).file("word.der", &word).http(
        "ssl_certificate {dir}/one.example.crt; ssl_certificate_key {dir}/one.example.key;
         ssl_stapling on; ssl_stapling_file {dir}/word.der;
         server { listen 127.0.0.1:{port} ssl; return 200; }",
    );
    assert!(staple(&server) == word);
    assert_eq!(responder.asked(), 0);
}

#[test]
fn certificates_that_name_nobody_to_ask_go_without() {
    let setup = Setup::new().identity_of("one.example");
    let output = setup.run(
        "events { } http { server { listen 127.0.0.1:{port} ssl; ssl_stapling on;
             ssl_certificate {dir}/one.example.crt;
             ssl_certificate_key {dir}/one.example.key; } }",
        &["-t"],
    );
    let warning = "\"ssl_stapling\" ignored, issuer certificate not found for certificate";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
    assert_eq!(output.code, Some(0));
}

#[test]
fn authorities_are_asked_about_clients() {
    let authority = Authority::new("authority");
    let responder = Responder::start(&authority, &authority, 7, 8);
    let server =
        Setup::new().identity_of("one.example").file("ca.crt", authority.pem()).http(&format!(
            "ssl_certificate {{dir}}/one.example.crt; ssl_certificate_key {{dir}}/one.example.key;
             ssl_client_certificate {{dir}}/ca.crt; ssl_verify_client on;
             ssl_ocsp_responder http://127.0.0.1:{}/;
             server {{ listen 127.0.0.1:{{port}} ssl; ssl_ocsp on; ssl_ocsp_cache off;
                 return 200 \"$ssl_client_verify $pid\"; }}
             server {{ listen 127.0.0.1:{{port2}} ssl; ssl_ocsp leaf;
                 ssl_ocsp_cache shared:ocsp:1m; return 200 \"$ssl_client_verify $pid\"; }}
             server {{ listen 127.0.0.1:{{port3}} ssl; ssl_ocsp off; return 200 fine; }}",
            responder.port
        ));
    let [good, bad, unknown] = [7, 8, 9].map(|number| authority.issue_numbered("client", number));
    let get = |port, identity: &Identity| {
        let config = client_config(VERSIONS[0], Some(identity));
        TlsClient::connect(port, &config, "one.example").get("/")
    };
    assert!(get(server.port(), &good).text().starts_with("SUCCESS"), "{}", server.error_log());
    assert_eq!(responder.asked(), 1);
    get(server.port(), &good);
    assert_eq!(responder.asked(), 2, "nothing is remembered");
    assert_eq!(get(server.port(), &bad).status, 400);
    server.logs("client SSL certificate verify error: certificate revoked");
    assert_eq!(get(server.port(), &unknown).status, 400);
    server.logs("client SSL certificate verify error: certificate status unknown");
    // Each worker remembers for itself.
    let mut workers = std::collections::HashSet::new();
    let asked = responder.asked();
    for _ in 0..20 {
        let answer = get(server.port2(), &good);
        assert!(answer.text().starts_with("SUCCESS"));
        workers.insert(answer.text().to_owned());
    }
    assert!(responder.asked() - asked <= workers.len());
    let asked = responder.asked();
    let port3 = server.filled("{port3}").parse().unwrap();
    assert_eq!(get(port3, &bad).text(), "fine");
    assert_eq!(responder.asked(), asked);
}
