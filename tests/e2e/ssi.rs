//! Pages with commands.

use daemun_tests::{Server, Setup};

fn site(pages: &[(&str, &str)], rules: &str) -> Server {
    let mut setup = Setup::new();
    for (name, content) in pages {
        setup = setup.file(&format!("html/{name}"), content);
    }
    let locations = format!("root {{dir}}/html; ssi on; ssi_types *; {rules}");
    setup.http(&format!("server {{ listen 127.0.0.1:{{port}}; {locations} }}"))
}

#[test]
fn included_pages_stand_where_they_are_included() {
    let server = site(
        &[
            (
                "page.html",
                "1<!--#include virtual=\"/slow\" -->2<!--#include virtual=\"b.html?x=y\" -->3",
            ),
            ("b.html", "[<!--#include file=\"folder/c.html\" --> <!--#echo var='arg_x' -->]"),
            ("folder/c.html", "<!--# echo var=\"uri\" -->"),
            ("missing.html", "<!--#include virtual=\"/nothing\" -->"),
        ],
        "location = /slow { error_page 418 = /b.html?x=slow; return 418; }",
    );
    let page = server.get("/page.html");
    assert_eq!(page.text(), "1[/folder/c.html slow]2[/folder/c.html y]3");
    assert_eq!((page.header("Last-Modified"), page.header("ETag")), (None, None));
    assert!(page.is_chunked());
    assert!(server.get("/missing.html").text().contains("404 Not Found"));
    assert_eq!(server.request("HEAD", "/page.html", &[]).status, 200);
    let whole = server.get_with("/page.html", &["Range: bytes=0-1"]);
    assert_eq!((whole.status, whole.text()), (200, page.text()));
}

#[test]
fn variables_are_set_shown_and_escaped() {
    let server = site(
        &[
            (
                "a.html",
                "<!--#set var=\"one\" value=\"<$arg_a>\" --><!--#echo var=\"one\" -->\
                 <!--#echo var=\"one\" encoding=\"none\" -->\
                 <!--#echo var=\"HTTP_X_Own\" encoding=\"url\" -->\
                 <!--#echo var=\"nobody\" --><!--#echo var=\"nobody\" default=\"else\" -->\
                 <!--#set var=\"two\" value=\"${one}\\$x\" --><!--#echo var=\"two\" encoding=\"none\" -->\
                 <!--#include virtual=\"/b.html\" set=\"three\" -->|<!--#echo var=\"three\" -->",
            ),
            ("b.html", "from b<!--#set var=\"four\" value=\"4\" -->"),
        ],
        "",
    );
    let page = server.get_with("/a.html?a=%20b", &["X-Own: a b"]);
    assert_eq!(page.text(), "&lt;%20b&gt;<%20b>a%20b(none)else<%20b>$x|from b");
}

#[test]
fn conditions_choose_what_is_shown() {
    let page = "<!--#if expr=\"$arg_a\" -->A<!--#elif expr=\"$arg_b = two\" -->B\
                <!--#elif expr=\"$arg_b = /^x(?P<rest>.*)/\" -->C<!--#echo var=\"rest\" --><!--#echo var=\"1\" -->\
                <!--#elif expr=\"$arg_b != three\" -->D<!--#else -->E<!--#endif -->.";
    let server = site(&[("if.html", page)], "");
    for (args, expected) in [
        ("a=1", "A."),
        ("b=two", "B."),
        ("b=xyz", "Cyzyz."),
        ("b=four", "D."),
        ("b=three", "E."),
        ("a=1&b=two", "A."),
    ] {
        assert_eq!(server.get(&format!("/if.html?{args}")).text(), expected, "{args}");
    }
}

#[test]
fn stubs_stand_in_for_empty_answers() {
    let server = site(
        &[
            (
                "a.html",
                "<!--#block name=\"stub\" -->nothing for <!--#echo var=\"arg_who\" --><!--#endblock -->\
             (<!--#include virtual=\"/empty?who=$arg_who\" stub=\"stub\" -->)(<!--#include virtual=\"/b.html\" stub=\"stub\" -->)\
             (<!--#include virtual=\"/missing?who=you\" stub=\"stub\" -->)",
            ),
            ("b.html", "b"),
        ],
        "location /empty { return 204; }",
    );
    assert_eq!(server.get("/a.html?who=me").text(), "(nothing for me)(b)(nothing for you)");
}

#[test]
fn errors_are_told_in_the_page_and_in_the_log() {
    let server = site(
        &[
            (
                "a.html",
                "<!--#nonsense -->|<!--#config errmsg=\"oops\" --><!--#echo -->|<!--#include virtual=\"/../x\" -->",
            ),
            ("loop.html", "x<!--#include virtual=\"/loop.html\" -->"),
        ],
        "location /silent/ { alias {dir}/html/; ssi_silent_errors on; }",
    );
    let page = server.get("/a.html");
    assert_eq!(page.text(), "[an error occurred while processing the directive]|oops|oops");
    server.logs(
        "invalid SSI command: \"nonsense\" while sending response to client, client: 127.0.0.1",
    );
    server.logs("unsafe URI \"/../x\" was detected");
    assert_eq!(server.get("/silent/a.html").text(), "||");
    let endless = server.get("/loop.html");
    assert!(endless.text().starts_with(&"x".repeat(50)), "{}", endless.text());
    server.logs("subrequests cycle while processing \"/loop.html\"");
}

#[test]
fn dates_are_spelt_as_the_page_wishes() {
    let server = site(
        &[(
            "a.html",
            "<!--#config timefmt=\"%Y!\" --><!--#echo var=\"date_gmt\" --><!--#echo var=\"date_local\" -->",
        )],
        "",
    );
    let page = server.get("/a.html");
    let years: Vec<&str> = page.text().split('!').collect();
    assert!(years[0].parse::<u32>().unwrap() > 2000 && years[0] == years[1], "{years:?}");
}

#[test]
fn pages_keep_their_date_and_their_commands_their_bounds() {
    let server = site(
        &[
            ("a.html", "<!--#echo var=\"uri\" -->"),
            ("long.html", "<!--#echo var=\"uri\" default=\"far too long\" -->"),
            ("set.html", "<!--#include virtual=\"/big.html\" set=\"big\" -->after"),
            ("big.html", &"x".repeat(5000)),
        ],
        "ssi_last_modified on; ssi_value_length 10; subrequest_output_buffer_size 1k;",
    );
    let page = server.get("/a.html");
    assert_eq!(page.text(), "/a.html");
    assert!(page.header("Last-Modified").is_some());
    let long = server.get("/long.html");
    assert!(long.text().contains("an error occurred"), "{}", long.text());
    let cut = server.send("GET /set.html HTTP/1.0\r\n\r\n");
    assert_eq!(cut, "", "nginx gives no answer either");
    server.logs("too big subrequest response");
}

/// nginx's table, by the page's own words: what would end an attribute or begin a tag is escaped.
#[test]
fn a_value_in_a_url_begins_no_markup() {
    let server = Setup::new()
        .file("html/a.html", "<a href='<!--#echo var=\"http_x\" encoding=\"url\" -->'>")
        .http("server { listen 127.0.0.1:{port}; root {dir}/html; ssi on; }");
    for byte in (b' '..=b'~').chain(0x80..=0xff) {
        let mut client = server.client();
        client.send([b"GET /a.html HTTP/1.0\r\nX: a", &[byte][..], b"b\r\n\r\n"].concat());
        let answer = client.rest();
        let is_escaped = byte >= 0x7f || b" \"#%'<>\\^`{|}".contains(&byte);
        let told = match is_escaped {
            true => format!("'a%{byte:02X}b'").into_bytes(),
            false => vec![b'\'', b'a', byte, b'b', b'\''],
        };
        assert!(answer.windows(told.len()).any(|part| part == told), "{byte:#x}");
    }
}
