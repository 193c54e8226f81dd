//! Listings of folders.

use daemun_tests::{Server, Setup};

fn site() -> Server {
    Setup::new()
        .file("html/a & b.txt", "four")
        .file("html/folder/inside", "")
        .file("html/.hidden", "")
        .file(&format!("wide/{}", "ж".repeat(40)), "")
        .file("html/large", vec![b'x'; 3 << 20])
        .http(
            "server {
                 listen 127.0.0.1:{port};
                 root {dir}/html;
                 location / { autoindex on; }
                 location /rounded/ { autoindex on; autoindex_exact_size off; autoindex_localtime on; alias {dir}/html/; }
                 location /json/ { autoindex on; autoindex_format json; alias {dir}/html/; }
                 location /jsonp/ { autoindex on; autoindex_format jsonp; alias {dir}/html/; }
                 location /utf-8/ { autoindex on; charset utf-8; alias {dir}/wide/; }
                 location /bytes/ { autoindex on; alias {dir}/wide/; }
                 location /xml/ { autoindex on; autoindex_format xml; alias {dir}/html/; }
                 location /off/ { alias {dir}/html/; }
             }",
        )
}

#[test]
fn a_page_links_to_what_is_there() {
    let server = site();
    let page = server.get("/");
    assert_eq!(page.header("Content-Type"), Some("text/html"));
    let text = page.text();
    assert!(text.contains("<title>Index of /</title>"));
    assert!(text.contains("<a href=\"a%20%26%20b.txt\">a &amp; b.txt</a>"), "{text}");
    assert!(text.contains("<a href=\"folder/\">folder/</a>"));
    assert!(text.contains(&(3 << 20).to_string()));
    assert!(!text.contains("hidden"));
    assert!(server.get("/rounded/").text().contains(" 3M\r\n"));
    assert_eq!(server.get("/off/").status, 403);
    server.logs("directory index of");
}

#[test]
fn programs_get_json_and_xml() {
    let server = site();
    let json = server.get("/json/");
    assert_eq!(json.header("Content-Type"), Some("application/json"));
    assert!(json.text().contains("\"name\":\"a & b.txt\", \"type\":\"file\""), "{}", json.text());
    let jsonp = server.get("/jsonp/?callback=show");
    assert!(
        jsonp.text().starts_with("/* callback */\r\nshow([") || jsonp.text().starts_with("show([")
    );
    let xml = server.get("/xml/");
    assert_eq!(xml.header("Content-Type"), Some("text/xml; charset=utf-8"));
    assert!(xml.text().contains(">a &amp; b.txt</file>"), "{}", xml.text());
    assert!(xml.text().contains("<directory mtime="));
}

#[test]
fn a_page_in_utf_8_counts_characters() {
    let server = site();
    let name = "ж".repeat(40);
    let whole = format!(">{name}</a>{:11}", "");
    let page = server.get("/utf-8/");
    assert!(page.text().contains(&whole), "{}", page.text());
    let page = server.get("/bytes/").body;
    let cut = [b">", &name.as_bytes()[..47], b"..&gt;</a>"].concat();
    assert!(page.windows(cut.len()).any(|part| part == cut));
}
