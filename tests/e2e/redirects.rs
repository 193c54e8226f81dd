//! `return`, and where redirects lead.

use daemun_tests::{Server, Setup};

#[test]
fn return_answers_from_the_configuration() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             default_type text/plain;
             location = /text { return 200 \"hello $arg_name\\n\"; }
             location = /moved { return 301 /new?x=1; }
             location = /away { return https://example.org$request_uri; }
             location = /empty { return 204; }
             location = /silent { return 444; }
             location = /odd { return 599 odd; }
         }",
    );
    let text = server.get("/text?name=ann");
    assert_eq!((text.status, text.text()), (200, "hello ann\n"));
    assert_eq!(text.header("Content-Type"), Some("text/plain"));
    let moved = server.get("/moved");
    let place = server.filled("http://localhost:{port}/new?x=1");
    assert_eq!((moved.status, moved.header("Location")), (301, Some(&*place)));
    let away = server.get("/away?b");
    assert_eq!((away.status, away.header("Location")), (302, Some("https://example.org/away?b")));
    assert_eq!(server.get("/empty").status, 204);
    assert_eq!(server.get("/odd").line, "HTTP/1.1 599 ");
    assert_eq!(server.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n"), "");
}

#[test]
fn redirects_name_scheme_host_and_port_as_configured() {
    let server = Setup::new().file("html/folder/a", "").http(
        "server {
             listen 127.0.0.1:{port};
             server_name example.org;
             root {dir}/html;
             location /relative { absolute_redirect off; return 301 /x; }
             location /portless { port_in_redirect off; return 301 /x; }
             location /named { server_name_in_redirect on; return 301 /x; }
         }",
    );
    let location = |uri: &str| server.get(uri).header("Location").unwrap().to_owned();
    assert_eq!(location("/relative"), "/x");
    assert_eq!(location("/portless"), "http://localhost/x");
    assert_eq!(location("/named"), server.filled("http://example.org:{port}/x"));
    assert_eq!(location("/folder"), server.filled("http://localhost:{port}/folder/"));
}
