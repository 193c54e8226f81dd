//! Parts of files.

use daemun_tests::{Server, Setup};

fn site() -> Server {
    Setup::new().file("html/a.txt", "0123456789").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             default_type text/plain;
             location /one/ { alias {dir}/html/; max_ranges 1; }
             location /none/ { alias {dir}/html/; max_ranges 0; }
         }",
    )
}

#[test]
fn one_range_is_a_part_of_the_file() {
    let server = site();
    for (range, content, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
    ] {
        let answer = server.get_with("/a.txt", &[&format!("Range: {range}")]);
        assert_eq!((answer.status, answer.text()), (206, body), "{range}");
        assert_eq!(answer.header("Content-Range"), Some(content), "{range}");
    }
    let outside = server.get_with("/a.txt", &["Range: bytes=10-"]);
    assert_eq!(outside.status, 416);
    assert_eq!(outside.header("Content-Range"), Some("bytes */10"));
}

#[test]
fn several_ranges_come_in_parts() {
    let answer = site().get_with("/a.txt", &["Range: bytes=0-1,8-9"]);
    assert_eq!(answer.status, 206);
    let kind = answer.header("Content-Type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |range, text| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let expected = part("0-1", "01") + &part("8-9", "89") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!(answer.text(), expected);
}

#[test]
fn too_many_ranges_are_the_whole_file() {
    let server = site();
    assert_eq!(server.get_with("/one/a.txt", &["Range: bytes=0-1,3-4"]).status, 200);
    assert_eq!(server.get_with("/one/a.txt", &["Range: bytes=0-1"]).status, 206);
    let none = server.get_with("/none/a.txt", &["Range: bytes=0-1"]);
    assert_eq!((none.status, none.header("Accept-Ranges")), (200, None));
}

#[test]
fn a_range_of_another_version_is_the_whole_file() {
    let server = site();
    let tag = server.get("/a.txt").header("ETag").unwrap().to_owned();
    let ask = |condition: &str| {
        let field = format!("If-Range: {condition}");
        server.get_with("/a.txt", &["Range: bytes=0-1", &field]).status
    };
    assert_eq!(ask(&tag), 206);
    assert_eq!(ask("\"other\""), 200);
    assert_eq!(ask("Thu, 01 Jan 1970 00:00:00 GMT"), 200);
}
