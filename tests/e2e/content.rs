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

#[test]
fn videos_are_sent_from_a_place_in_the_middle() {
    let too_large: Vec<u8> =
        [&b"\0\0\0\x10ftypisom\0\0\0\0"[..], b"\0\0\x20\0moov", &[0; 0x1ff8]].concat();
    let server =
        Setup::new().file("html/a.flv", "0123456789").file("html/a.mp4", &too_large).http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 location ~ flv$ { flv; }
                 location ~ mp4$ { mp4; mp4_start_key_frame on; mp4_buffer_size 512; mp4_max_buffer_size 1k; }
             }",
        );
    let rest = server.get("/a.flv?start=4");
    assert_eq!(&rest.body[..3], b"FLV");
    assert!(rest.body.ends_with(b"456789") && rest.body.len() == 13 + 6);
    assert_eq!(server.get("/a.flv").text(), "0123456789");
    assert!(server.get("/a.mp4").body == too_large);
    assert_eq!(server.get("/a.mp4?start=1").status, 500);
    server.logs("mp4 moov atom is too large");
}

#[test]
fn only_what_lies_deep_enough_is_deleted() {
    let server = Setup::new().file("html/up/a.txt", "a").http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             dav_methods DELETE;
             min_delete_depth 3;
         }",
    );
    assert_eq!(server.request("DELETE", "/up/a.txt", &[]).status, 409);
    server.logs("insufficient URI depth:2 to DELETE");
    assert_eq!(server.get("/up/a.txt").text(), "a");
}

#[test]
fn pictures_are_made_as_fine_as_configured() {
    let noise = |x: u32, y: u32| image::Rgb([x, y, x * y].map(|part| (part * 37 % 251) as u8));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(64, 64, noise).write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let server = Setup::new().file("html/a.jpg", jpeg.into_inner()).http(
        "server {
             listen 127.0.0.1:{port};
             root {dir}/html;
             image_filter_interlace on; image_filter_transparency off; image_filter_webp_quality 50;
             location /fine/ { image_filter resize 32 32; image_filter_jpeg_quality 95; alias {dir}/html/; }
             location /coarse/ { image_filter resize 32 32; image_filter_jpeg_quality 5; alias {dir}/html/; }
             location /sharp/ {
                 image_filter resize 32 32; image_filter_jpeg_quality 95; image_filter_sharpen 100;
                 alias {dir}/html/;
             }
         }",
    );
    let picture = |uri: &str| {
        let answer = server.get(uri);
        let picture = image::load_from_memory(&answer.body).unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 32), "{uri}");
        answer.body
    };
    let (fine, coarse) = (picture("/fine/a.jpg"), picture("/coarse/a.jpg"));
    assert!(coarse.len() * 2 < fine.len(), "{} and {} bytes", coarse.len(), fine.len());
    assert!(picture("/sharp/a.jpg") != fine);
}

/// A handler that takes files alone leaves folders to those that know what to do with them.
#[test]
fn folders_are_no_videos() {
    let server = Setup::new()
        .file("html/with/index.html", "index")
        .file("html/bare/a.txt", "a")
        .http(
            "server {
                 listen 127.0.0.1:{port};
                 location /mp4/ { alias {dir}/html/; mp4; }
                 location /flv/ { alias {dir}/html/; flv; }
                 location /list-mp4/ { alias {dir}/html/; mp4; autoindex on; }
                 location /list-flv/ { alias {dir}/html/; flv; autoindex on; }
                 location /any-mp4/ { alias {dir}/html/; mp4; random_index on; }
                 location /if-mp4/ { alias {dir}/html/; mp4; autoindex on; if ($arg_a) { set $b c; } }
             }",
        );
    let status = |uri: &str| server.get(uri).status;
    for kind in ["mp4", "flv"] {
        assert_eq!(server.get(&format!("/{kind}/with/")).text(), "index");
        let redirect = server.get(&format!("/{kind}/with?start=1"));
        assert_eq!(redirect.status, 301, "{redirect:?}");
        assert!(redirect.header("Location").unwrap().ends_with(&format!("/{kind}/with/?start=1")));
        assert_eq!(status(&format!("/{kind}/bare/")), 403);
        assert_eq!(status(&format!("/{kind}/none")), 404);
        assert!(server.get(&format!("/list-{kind}/bare/")).text().contains("a.txt"));
        assert!(server.get(&format!("/list-{kind}/")).text().contains("with/"));
    }
    assert_eq!(server.get("/any-mp4/bare/").text(), "a");
    assert!(server.get("/if-mp4/bare/?a=1").text().contains("a.txt"));
}

/// nginx's sentences, about videos that are none.
#[test]
fn what_is_wrong_with_a_video_is_told() {
    fn atom(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
    }
    let ftyp = atom(b"ftyp", b"isom");
    let data = atom(b"mdat", b"xxx");
    let movie = |content: &[u8]| [&ftyp[..], &atom(b"moov", content), &data].concat();
    let header = atom(b"mvhd", &[0; 100]);
    let cases: [(Vec<u8>, &str); 12] = [
        (b"x".to_vec(), "\"{}\" mp4 file truncated,"),
        (ftyp.clone(), "no mp4 trak atoms were found in \"{}\","),
        (movie(b""), "no mp4 trak atoms were found in \"{}\","),
        ([&ftyp[..], &100u32.to_be_bytes(), b"moov"].concat(), "\"{}\" mp4 atom too large:100,"),
        ([&4u32.to_be_bytes()[..], b"ftyp", b"xxxx"].concat(), "\"{}\" mp4 atom is too small:4,"),
        (movie(&atom(b"mvhd", b"x")), "\"{}\" mp4 mvhd atom too small,"),
        (movie(&atom(b"trak", &atom(b"tkhd", b"x"))), "\"{}\" mp4 tkhd atom too small,"),
        (
            movie(&atom(b"trak", &atom(b"mdia", &atom(b"mdhd", b"x")))),
            "\"{}\" mp4 mdhd atom too small,",
        ),
        (movie(&[&header[..], &header].concat()), "duplicate mp4 mvhd atom in \"{}\","),
        (
            movie(&[&header[..], &atom(b"trak", b"")].concat()),
            "no mp4 stts atoms were found in \"{}\",",
        ),
        (movie(&atom(b"cmov", b"")), "\"{}\" mp4 compressed moov atom (cmov) is not supported,"),
        (
            [&ftyp[..], &atom(b"moov", &header), &atom(b"moov", &header)].concat(),
            "duplicate mp4 moov atom in \"{}\",",
        ),
    ];
    let mut setup = Setup::new();
    for (number, (video, _)) in cases.iter().enumerate() {
        setup = setup.file(&format!("html/{number}.mp4"), video);
    }
    let server =
        setup.http("server { listen 127.0.0.1:{port}; root {dir}/html; location / { mp4; } }");
    for (number, (_, told)) in cases.iter().enumerate() {
        assert_eq!(server.get(&format!("/{number}.mp4?start=1")).status, 500, "{told}");
        let path = server.folder().path(format!("html/{number}.mp4"));
        server.logs(&told.replace("{}", path.to_str().unwrap()));
    }
}
