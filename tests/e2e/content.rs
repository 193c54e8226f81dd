//! Content that is changed by clients, or made from files.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use daemun_tests::Setup;

#[test]
fn clients_change_files_as_far_as_they_may() {
    let server = Setup::new().file("html/up/a.txt", "a").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location /up/ {
                 dav_methods PUT DELETE MKCOL COPY MOVE;
                 create_full_put_path on;
                 dav_access group:r all:r;
             }
             location /read/ { alias {dir}/html/up/; }
         }",
    );
    // The workers are nobody in particular.
    let folder = server.folder().path("html/up");
    std::fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    let put = |uri: &str, body: &str| {
        let length = body.len();
        let head =
            format!("PUT {uri} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        let mut client = server.client();
        client.send(head + body);
        client.answer()
    };
    let made = put("/up/new%20folder/b.txt", "bee");
    assert_eq!(made.status, 201);
    assert!(made.header("Location").unwrap().ends_with("/up/new%20folder/b.txt"));
    assert_eq!(server.get("/up/new%20folder/b.txt").text(), "bee");
    assert_eq!(put("/up/a.txt", "").status, 204);
    assert_eq!(server.get("/read/a.txt").text(), "");
    assert_eq!(put("/up/folder/", "x").status, 409);
    assert_eq!(put("/read/a.txt", "x").status, 405);
    let ask = |method: &str, uri: &str, fields: &[&str]| server.request(method, uri, fields).status;
    assert_eq!(ask("MKCOL", "/up/c/", &[]), 201);
    assert_eq!(ask("MKCOL", "/up/c/", &[]), 405);
    assert_eq!(ask("COPY", "/up/new%20folder/b.txt", &["Destination: /up/c/b.txt"]), 204);
    assert_eq!(ask("COPY", "/up/c/b.txt", &["Destination: /up/a.txt", "Overwrite: F"]), 412);
    assert_eq!(ask("MOVE", "/up/c/", &["Destination: http://localhost/up/d/"]), 201);
    assert_eq!(ask("MOVE", "/up/d/", &["Destination: /up/d/e/"]), 403);
    assert_eq!(ask("MOVE", "/up/d/", &["Destination: /../x/"]), 400);
    assert_eq!(server.get("/up/d/b.txt").text(), "bee");
    assert_eq!(ask("DELETE", "/up/d", &[]), 409);
    assert_eq!(ask("DELETE", "/up/d/", &[]), 204);
    assert_eq!(ask("DELETE", "/up/d/b.txt", &[]), 404);
}

#[test]
fn text_is_recoded_and_says_so() {
    let server = Setup::new().file("html/koi8.txt", b"x\xc1\xc2").file("html/a.bin", "x").http(
        "charset_map koi8-r utf-8 { C1 D0B0; }
         server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             types { text/plain txt; application/octet-stream bin; }
             source_charset koi8-r;
             charset utf-8;
         }",
    );
    let text = server.get("/koi8.txt");
    assert_eq!(text.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.text(), "xа?");
    assert_eq!(server.get("/a.bin").header("Content-Type"), Some("application/octet-stream"));
}

#[test]
fn pictures_are_measured_and_only_they_pass() {
    const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let server =
        Setup::new().file("html/a.gif", PIXEL).file("html/a.txt", "no picture at all").http(
            "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             location /size/ { image_filter size; alias {dir}/html/; }
             location /test/ { image_filter test; alias {dir}/html/; }
             location /turn/ { image_filter rotate $arg_by; alias {dir}/html/; }
             location /short/ { image_filter test; image_filter_buffer 10; alias {dir}/html/; }
         }",
        );
    let json = "{ \"img\" : { \"width\": 1, \"height\": 1, \"type\": \"gif\" } }\r\n";
    assert_eq!(server.get("/size/a.gif").text(), json);
    assert_eq!(server.get("/size/a.txt").text(), "{}\r\n");
    let passed = server.get("/test/a.gif");
    assert_eq!((passed.header("Content-Type"), &*passed.body), (Some("image/gif"), PIXEL));
    assert_eq!(server.get("/test/a.txt").status, 415);
    assert_eq!(server.get("/turn/a.gif?by=90").status, 200);
    assert_eq!(server.get("/turn/a.gif?by=45").status, 415);
    assert_eq!(server.get("/short/a.gif").status, 415);
    server.logs("image filter: too big response");
}
