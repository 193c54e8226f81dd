//! Where requests come from: pages, links and browsers.

use daemun_tests::{Server, Setup};

#[test]
fn referers_are_valid_or_not() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             server_name www.site.test;
             referer_hash_max_size 1024;
             referer_hash_bucket_size 64;
             location / {
                 valid_referers none blocked server_names *.example.com www.example.org/gallery/ ~\\.google\\.;
                 if ($invalid_referer) { return 403; }
                 return 200;
             }
             location /unchecked { if ($invalid_referer) { return 403; } return 200; }
         }",
    );
    assert_eq!(server.get("/").status, 200);
    for (referer, status) in [
        ("http://www.site.test/a", 200),
        ("https://a.example.com", 200),
        ("http://example.com/", 403),
        ("http://www.example.org/gallery/1", 200),
        ("http://www.example.org/", 403),
        ("http://www.google.test/", 200),
        ("hidden", 200),
        ("http://evil.test/", 403),
    ] {
        let field = format!("Referer: {referer}");
        assert_eq!(server.get_with("/", &[&field]).status, status, "{referer}");
        assert_eq!(server.get_with("/unchecked", &[&field]).status, 200);
    }
}

#[test]
fn links_cannot_be_made_up_and_may_expire() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location /s/ {
                 secure_link $arg_md5,$arg_expires;
                 secure_link_md5 \"$secure_link_expires$uri secret\";
                 return 200 \"$secure_link $secure_link_expires\";
             }
             location /p/ { secure_link_secret word; return 200 \"[$secure_link]\"; }
         }",
    );
    // md5 of "2147483647/s/link secret" and "1/s/link secret", as base64 for URLs.
    let good = "/s/link?md5=GOOD&expires=2147483647".replace("GOOD", GOOD);
    assert_eq!(server.get(&good).text(), "1 2147483647");
    assert_eq!(server.get(&good.replace("647", "646")).text(), " 2147483646");
    let expired = "/s/link?md5=EXPIRED&expires=1".replace("EXPIRED", EXPIRED);
    assert_eq!(server.get(&expired).text(), "0 1");
    // md5 of "linkword".
    let hashed = "/p/HASH/link".replace("HASH", LINK_WORD);
    assert_eq!(server.get(&hashed).text(), "[link]");
    assert_eq!(server.get(&hashed.replace("/link", "/other")).text(), "[]");
}

const GOOD: &str = "0Xgm37lo5nFEuHMDKl_vQg";
const EXPIRED: &str = "jdih8jzYhQga19CO0g9zvg";
const LINK_WORD: &str = "29245bdc2d04a9e0e729927ed0f84e26";

#[test]
fn browsers_are_modern_or_ancient() {
    let server = Server::http(
        "modern_browser msie 5.5;
         modern_browser gecko 1.0.0;
         modern_browser unlisted;
         ancient_browser Links netscape4;
         modern_browser_value new;
         ancient_browser_value old;
         server { listen 127.0.0.1:{port}; return 200 \"$modern_browser$ancient_browser$msie\"; }",
    );
    for (agent, expected) in [
        ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "new1"),
        ("Mozilla/4.0 (compatible; MSIE 5.0; Windows NT 5.1)", "old1"),
        ("Mozilla/4.0 (compatible; MSIE 6.0; X11) Opera 7.50", "old"),
        ("Mozilla/5.0 (X11; rv:1.5) Gecko", "new"),
        ("Mozilla/4.72 [en] (X11; U)", "old"),
        ("Links (2.1)", "old"),
        ("something/1.0", "new"),
    ] {
        let field = format!("User-Agent: {agent}");
        assert_eq!(server.get_with("/", &[&field]).text(), expected, "{agent}");
    }
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (text, sentence) in [
        (
            "valid_referers none ~a;",
            "the \"none\" or \"blocked\" referers are specified in the \"valid_referers\" directive without any valid referer",
        ),
        ("valid_referers a..b;", "invalid hostname or wildcard \"a..b\""),
        (
            "location / { secure_link_secret a; secure_link b; }",
            "\"secure_link_secret\" cannot be mixed with \"secure_link\" and \"secure_link_md5\"",
        ),
        ("modern_browser lynx 1;", "unknown browser name \"lynx\""),
        ("modern_browser msie 5b;", "invalid browser version \"5b\""),
    ] {
        let text = format!("events {{ }} http {{ server {{ listen {{port}}; {text} }} }}");
        let output = Setup::new().run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
