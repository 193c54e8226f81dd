//! The requests: lists of what varies, put into the same frame.

/// A raw request, and the name that the list of differences knows it by.
pub struct Case {
    pub name: String,
    pub request: Vec<u8>,
}

pub fn site() -> Vec<Case> {
    let mut cases = uris(URIS);
    cases.extend(uris(SITE_URIS));
    cases.extend(methods("/a.txt"));
    cases.extend(methods("/folder"));
    cases.extend(fields("/a.txt", RANGES));
    cases.extend(fields("/plain/a.txt", RANGES));
    cases.extend(fields("/no-ranges/a.txt", &["Range: bytes=0-1"]));
    cases.extend(fields(
        "/empty.txt",
        &["Range: bytes=0-", "Range: bytes=-1"],
    ));
    cases.extend(fields("/a.txt", CONDITIONS));
    cases.extend(fields("/plain/a.txt", CONDITIONS));
    cases.extend(fields("/before/a.txt", CONDITIONS));
    cases.extend(fields("/nothing", CONDITIONS));
    cases
}

pub fn echo() -> Vec<Case> {
    let mut cases = uris(URIS);
    cases.extend(methods("/"));
    cases.extend(hosts());
    cases.extend(fields("/", FIELDS));
    cases.extend(raws(RAW));
    cases.extend(bodies("/"));
    cases
}

pub fn limits() -> Vec<Case> {
    let mut cases = uris(&[
        "//a//b",
        "/echo//x/../y",
        "/file",
        "/./echo",
        "/echo/%2e%2e//z",
    ]);
    cases.extend(fields("/echo", FIELDS));
    for length in [200, 230, 250, 256, 300, 480, 500, 512, 600, 1000, 1100] {
        let long = "x".repeat(length);
        cases.push(get(
            format!("long uri {length}"),
            &format!("/echo/{long}"),
            "",
        ));
        let field = format!("X: {long}\r\n");
        cases.push(get(format!("long field {length}"), "/echo", &field));
        let name = format!("{long}: x\r\n");
        cases.push(get(format!("long name {length}"), "/echo", &name));
        let fields = format!("Y: {}\r\n", "y".repeat(90)).repeat(length / 100);
        cases.push(get(format!("many fields {length}"), "/echo", &fields));
    }
    cases.extend(bodies("/echo"));
    cases.extend(bodies("/unlimited"));
    cases.extend(bodies("/file"));
    let pipelined = "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5);
    cases.push(raw("five requests where three are allowed", &pipelined));
    cases
}

pub fn rules() -> Vec<Case> {
    let statuses = [
        "200", "201", "204", "204-text", "301", "302", "303", "307", "308", "308?x=y", "url",
        "400", "401", "402", "403", "405", "408", "410", "413", "416", "418", "429", "444", "494",
        "500", "502", "503", "504", "507", "599", "999",
    ];
    let paths: Vec<String> = statuses.iter().map(|status| format!("/{status}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut cases = uris(&paths);
    cases.extend(uris(RULE_URIS));
    for path in paths {
        cases.push(raw(
            &format!("kept {path}"),
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /200 HTTP/1.0\r\n\r\n"),
        ));
        cases.push(raw(
            &format!("head {path}"),
            &format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ));
        cases.push(raw(
            &format!("old {path}"),
            &format!("GET {path} HTTP/1.0\r\n\r\n"),
        ));
    }
    cases.extend(methods("/limited/a.txt"));
    cases.extend(methods("/201"));
    cases.extend(methods("/pages/403"));
    cases.extend(methods("/headers/a.txt"));
    let agents = [
        "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)",
        "User-Agent: Mozilla/4.0 (compatible; MSIE 5.0)",
        "User-Agent: Mozilla/5.0 Chrome/1",
        "User-Agent: Mozilla/5.0 Safari/1",
        "User-Agent: Opera MSIE 6.0",
    ];
    cases.extend(fields("/404", &agents));
    cases.extend(fields(
        "/headers/a.txt",
        &[
            "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT",
            "Range: bytes=1-2",
        ],
    ));
    cases
}

/// Every oddity of a target.
const URIS: &[&str] = &[
    "/",
    "//",
    "///",
    "/a.txt",
    "//a.txt",
    "/./a.txt",
    "/../a.txt",
    "/..",
    "/.",
    "/...",
    "/.a",
    "/..a",
    "/a/..",
    "/a/../",
    "/a/.",
    "/a/./",
    "/a/b/../../a.txt",
    "/a/b/../../../a.txt",
    "/folder/../a.txt",
    "/folder/./index.txt",
    "/folder//index.txt",
    "/folder/..//a.txt",
    "/folder/...//",
    "/folder/..",
    "/folder/../..",
    "/a.txt/",
    "/a.txt/..",
    "/a.txt?",
    "/a.txt??",
    "/a.txt?a=1",
    "/a.txt?a=1&a=2",
    "/a.txt?a=%31",
    "/a.txt?/../x",
    "/a.txt?a#b",
    "/a.txt#b",
    "/a.txt#",
    "/a.txt#b?c",
    "/#",
    "/?",
    "/%61.txt",
    "/%61%2Etxt",
    "/%2e%2e/a.txt",
    "/folder/%2e%2e/a.txt",
    "/folder%2findex.txt",
    "/folder/%2E",
    "/folder/%2e%2E/",
    "/%",
    "/%1",
    "/%zz",
    "/%4",
    "/%00",
    "/a%00b",
    "/%01",
    "/%20",
    "/with%20space.txt",
    "/with space.txt",
    "/with  space.txt",
    "/with+space.txt",
    "/per%25cent.txt",
    "/per%cent.txt",
    "/%ff",
    "/%C3%A4",
    "/\u{e4}",
    "/%2f",
    "/%2F%2f",
    "/a%2fb",
    "/%3f",
    "/a%3fb=c",
    "/%23",
    "/a%23b",
    "/%5c",
    "/a\\b",
    "/a\\..\\b",
    "/a\tb",
    "/a\u{7f}b",
    "/a\u{1}b",
    "/a;b",
    "/a,b",
    "/a:b",
    "/a@b",
    "/a|b",
    "/{a}",
    "/<a>",
    "/\"a\"",
    "/'a'",
    "/^",
    "/`",
    "/~",
    "/~user",
    "/-_.!~*'()",
    "*",
    "",
    "a",
    "a.txt",
    ".",
    "..",
    "?",
    "?a",
    "#",
    "%",
    "http://localhost/",
    "http://localhost",
    "http://localhost/a.txt",
    "http://localhost?x",
    "http://localhost?x=/a",
    "http://localhost#f",
    "http://LOCALHOST/a.txt",
    "HTTP://localhost/a.txt",
    "hTTp://localhost/a.txt",
    "http://",
    "http:///",
    "http:///a.txt",
    "http:/a.txt",
    "http:a.txt",
    "http://localhost:80/a.txt",
    "http://localhost:/a.txt",
    "http://localhost:x/a.txt",
    "http://localhost:99999/a.txt",
    "http://user@localhost/a.txt",
    "http://user:pw@localhost/a.txt",
    "http://[::1]/a.txt",
    "http://[::1]:80/a.txt",
    "http://[::1/a.txt",
    "http://[]/",
    "http://[zz]/",
    "http://127.0.0.1/a.txt",
    "http://local_host/a.txt",
    "http://local%20host/",
    "http://localhost./a.txt",
    "http://.localhost/",
    "http://..localhost/",
    "http://local..host/",
    "http://localhost//a.txt",
    "http://localhost/../a.txt",
    "ftp://localhost/a.txt",
    "https://localhost/a.txt",
    "1http://localhost/",
    "h-t+t.p://localhost/",
    "h_t://localhost/",
    "localhost:80",
    "//localhost/a.txt",
    "/a/b/c/d/../../../../a.txt",
    "/a/b/c/d/../../../../../a.txt",
    "/%2e",
    "/%2e/",
    "/.%2e/",
    "/%2e./",
    "/folder/.%2e/a.txt",
    "/a%2",
    "/a%2?b",
    "/a?b%2",
    "/a?b%zz",
    "/a?b c",
    "/a b?c",
    "/a?b#c%zz",
    "/a#%zz",
    "/a.txt%",
    "/a.txt%20",
    "/a.txt%00.html",
    "/a%0d%0ab",
    "/a%0a",
    "/a%7f",
    "/a//",
    "/a///b////c",
    "/echo",
    "/echo?a=1",
    "/echo/a%20b?c%20d",
    "/echo%2Fx",
    "/Echo",
    "/echo;x=1",
    "/echo?",
    "/echo?a=1&a=2",
    "/echo?A=1",
    "/echo?b=1&a=2",
    "/echo?a",
    "/echo?a=",
    "/echo?ba=1",
];

const SITE_URIS: &[&str] = &[
    "/folder",
    "/folder/",
    "/folder?x=1",
    "/folder/?x",
    "/bare",
    "/bare/",
    "/bare/file.txt",
    "/alias/",
    "/alias",
    "/alias/b.gif",
    "/alias/../a.txt",
    "/alias/nothing",
    "/auto/",
    "/auto",
    "/exact",
    "/exact/",
    "/first/x.php",
    "/x.php",
    "/x.php/",
    "/x.PHP",
    "/case/AbC",
    "/CASE/x",
    "/private/secret.txt",
    "/private/",
    "/private",
    "/tried/",
    "/tried/nothing",
    "/tried/index.html",
    "/tried-code/x",
    "/tried-named/x",
    "/gif",
    "/gif/x",
    "/empty.txt",
    "/nothing",
    "/nothing/",
    "/index.html/x",
    "/before/a.txt",
    "/a.txt.",
];

const RULE_URIS: &[&str] = &[
    "/relative/",
    "/folder",
    "/pages/nothing",
    "/pages/403",
    "/pages/410",
    "/pages/402",
    "/pages/500",
    "/pages/502",
    "/pages/503",
    "/echo/x",
    "/limited/a.txt",
    "/denied/a.txt",
    "/denied/nothing",
    "/allowed/a.txt",
    "/any/a.txt",
    "/headers/a.txt",
    "/headers/nothing",
    "/epoch/a.txt",
    "/off/a.txt",
    "/past/a.txt",
    "/max/a.txt",
    "/html/",
    "/json/",
    "/jsonp/",
    "/jsonp/?callback=f",
    "/xml/",
    "/local/",
    "/html/folder/",
    "/json/folder/",
    "/json/nothing/",
    "/xml",
    "/301?a=b",
    "/url?x",
];

const RANGES: &[&str] = &[
    "Range: bytes=0-0",
    "Range: bytes=0-4",
    "Range: bytes=5-",
    "Range: bytes=-5",
    "Range: bytes=19-",
    "Range: bytes=20-",
    "Range: bytes=0-100",
    "Range: bytes=-100",
    "Range: bytes=-0",
    "Range: bytes=5-2",
    "Range: bytes=",
    "Range: bytes=-",
    "Range: bytes=a-b",
    "Range: bytes=0-1,3-4",
    "Range: bytes=0-1, 3-4",
    "Range: bytes=0-1 , 3-4",
    "Range: bytes=0-1,1-2",
    "Range: bytes=0-1,30-40",
    "Range: bytes=30-40,50-60",
    "Range: bytes=-2,0-1",
    "Range: bytes=0-1,",
    "Range: bytes=,0-1",
    "Range: bytes = 0-1",
    "Range: bytes= 0 - 1",
    "Range: BYTES=0-1",
    "Range: Bytes=0-1",
    "Range: items=0-1",
    "Range: bytes=0-1x",
    "Range: bytes=0",
    "Range: bytes=1-1-1",
    "Range: bytes=99999999999999999999-",
    "Range: bytes=0-99999999999999999999",
    "Range: bytes=9223372036854775807-",
    "Range: bytes=0-9223372036854775807",
    "Range: bytes=0-19,0-19",
    "Range: bytes=0-9,0-9,0-9",
    "Range: bytes=0-1\r\nRange: bytes=3-4",
    "Range:",
    "Range: bytes=+0-1",
    "Range: bytes=0-0,-1",
    "Range: bytes=0-1\r\nIf-Range: \"5f5e1000-14\"",
    "Range: bytes=0-1\r\nIf-Range: Sun, 13 Sep 2020 12:26:40 GMT",
    "Range: bytes=0-1\r\nIf-Range: Sun, 13 Sep 2020 12:26:41 GMT",
    "Range: bytes=0-1\r\nIf-Range: \"x\"",
    "Range: bytes=0-1\r\nIf-Range: W/\"5f5e1000-14\"",
    "Range: bytes=0-1\r\nIf-Range: \"5f5e1000-14\"x",
    "Range: bytes=0-1\r\nIf-Range: nonsense",
    "Range: bytes=0-1\r\nIf-Range:",
    "If-Range: \"x\"",
];

const CONDITIONS: &[&str] = &[
    "If-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT",
    "If-Modified-Since: Sun, 13 Sep 2020 12:26:41 GMT",
    "If-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT",
    "If-Modified-Since: Sunday, 13-Sep-20 12:26:40 GMT",
    "If-Modified-Since: Sun Sep 13 12:26:40 2020",
    "If-Modified-Since: nonsense",
    "If-Modified-Since:",
    "If-Modified-Since: Mon, 13 Sep 2020 12:26:40 GMT",
    "If-Modified-Since: 13 Sep 2020 12:26:40 GMT",
    "If-Modified-Since: Sun, 13 Sep 2020 12:26:40",
    "If-Modified-Since: Sun, 31 Feb 2020 12:26:40 GMT",
    "If-Unmodified-Since: Sun, 13 Sep 2020 12:26:40 GMT",
    "If-Unmodified-Since: Sun, 13 Sep 2020 12:26:39 GMT",
    "If-Unmodified-Since: nonsense",
    "If-None-Match: \"5f5e1000-14\"",
    "If-None-Match: W/\"5f5e1000-14\"",
    "If-None-Match: \"x\", \"5f5e1000-14\"",
    "If-None-Match: \"x\",\"5f5e1000-14\"",
    "If-None-Match: *",
    "If-None-Match: \"x\"",
    "If-None-Match:",
    "If-None-Match: 5f5e1000-14",
    "If-None-Match: \"5f5e1000-14\" ",
    "If-Match: \"5f5e1000-14\"",
    "If-Match: W/\"5f5e1000-14\"",
    "If-Match: *",
    "If-Match: \"x\"",
    "If-Match: \"x\", \"5f5e1000-14\"",
    "If-Match:",
    "If-None-Match: \"x\"\r\nIf-None-Match: \"5f5e1000-14\"",
    "If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 13 Sep 2020 12:26:40 GMT",
    "If-None-Match: \"5f5e1000-14\"\r\nIf-Modified-Since: Sun, 13 Sep 2020 12:26:39 GMT",
    "If-Match: \"x\"\r\nIf-None-Match: \"5f5e1000-14\"",
    "If-None-Match: **",
    "If-None-Match: *, \"x\"",
    "If-None-Match: \"5f5e1000-14",
    "If-None-Match: ,\"5f5e1000-14\"",
    "If-None-Match: \"a\\\"b\", \"5f5e1000-14\"",
];

const FIELDS: &[&str] = &[
    "X: a",
    "X:a",
    "X:  a  ",
    "X:\ta\t",
    "X: a b",
    "X: \"a\"",
    "X:",
    "X: ",
    "X",
    "X ",
    "X : a",
    "X\t: a",
    " X: a",
    "\tX: a",
    ": a",
    ":",
    "X: a\r\n b",
    "X: a\r\n\tb",
    "X: a\r\nX: b",
    "x: a",
    "X_Y: a",
    "X-Y: a",
    "X.Y: a",
    "X Y: a",
    "X@Y: a",
    "X(Y: a",
    "X\u{e4}: a",
    "X: \u{e4}",
    "X: a\u{1}b",
    "X: a\u{7f}b",
    "X: a\0b",
    "X\0: a",
    "X: a\rb",
    "X: a\r",
    "X: a\nY: b",
    "X: a\r\r\n",
    "X\r: a",
    "X\u{1}: a",
    "_X: a",
    "-X: a",
    "1: a",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Close",
    "Connection: upgrade",
    "Connection: keep-alive, close",
    "Connection: close, keep-alive",
    "Connection: close\r\nConnection: keep-alive",
    "Connection: keep-alive\r\nConnection: close",
    "Connection:",
    "Connection: closed",
    "Connection: x-close-x",
    "Connection: xkeep-alivex",
    "Keep-Alive: 10",
    "Host: b",
    "Host: localhost",
    "Host:",
    "HOST: b",
    "Host : b",
    "Content-Length: 0",
    "Content-Length: 00",
    "Content-Length:",
    "Content-Length: a",
    "Content-Length: -1",
    "Content-Length: +1",
    "Content-Length: 1 2",
    "Content-Length: 0x1",
    "Content-Length: 1a",
    "Content-Length: 0, 0",
    "Content-Length: 99999999999999999999",
    "Content-Length: 9223372036854775807",
    "Content-Length: 9223372036854775808",
    "Content-Length: 0\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: 1",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding:",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity\r\nContent-Length: 0",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "Expect:",
    "Cookie: a=1",
    "Cookie: a=1; b=2",
    "Cookie: b=2; a=1",
    "Cookie: b=2\r\nCookie: a=1",
    "Cookie: aa=1;a=2",
    "Cookie: a = 1",
    "Cookie: a",
    "Cookie: a=",
    "Cookie: A=1",
    "Cookie: b=2;a=1;c",
    "Cookie: a=1,b=2",
    "User-Agent: x",
    "User-Agent: x\r\nUser-Agent: y",
    "Referer: z",
    "Referer: z\r\nReferer: y",
    "Authorization: Basic dXNlcjpwdw==",
    "Authorization: Basic dXNlcg==",
    "Authorization: Basic !!",
    "Authorization: Basic",
    "Authorization: basic dXNlcjpwdw==",
    "Authorization: Bearer x",
    "Authorization: Basic dXNlcjpwdw==\r\nAuthorization: Basic dXNlcjpwdw==",
    "Authorization:  Basic   dXNlcjpwdw==  ",
    "Via: 1.1 a",
    "Via: 1.1 a\r\nVia: 1.1 b",
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2",
    "Content-Type: a/b",
    "Content-Type: a/b\r\nContent-Type: c/d",
    "If-Modified-Since: a\r\nIf-Modified-Since: b",
    "TE: trailers",
    "Upgrade: h2c",
    "Upgrade: h2c\r\nConnection: upgrade",
    "Date: x\r\nDate: y",
];

const RAW: &[&str] = &[
    "",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\r\n\r\n",
    "G",
    "GET",
    "GET ",
    "GET /",
    "GET /\r\n",
    "GET /\n",
    "GET / \r\n",
    "GET  /\r\n",
    "GET / HTTP/1.1",
    "GET / HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "\r\nGET / HTTP/1.0\r\n\r\n",
    "\n\nGET / HTTP/1.0\r\n\r\n",
    "\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    " GET / HTTP/1.0\r\n\r\n",
    "\tGET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/0.9\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.9\r\n\r\n",
    "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.99\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.100\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.999\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1000\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\n\r\n",
    "GET / HTTP/3\r\n\r\n",
    "GET / HTTP/10.1\r\n\r\n",
    "GET / HTTP/99.9\r\n\r\n",
    "GET / HTTP/100.1\r\n\r\n",
    "GET / HTTP/0.1\r\n\r\n",
    "GET / HTTP/01.1\r\n\r\n",
    "GET / HTTP/1\r\n\r\n",
    "GET / HTTP/1.\r\n\r\n",
    "GET / HTTP/.1\r\n\r\n",
    "GET / HTTP/\r\n\r\n",
    "GET / HTTP\r\n\r\n",
    "GET / HTT\r\n\r\n",
    "GET / http/1.1\r\n\r\n",
    "GET / HTTPS/1.1\r\n\r\n",
    "GET / XTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1  \r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n",
    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "Get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GE_T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GE-T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "G1 / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /\r\n",
    "HEAD /\r\n",
    "GET http://localhost/\r\n",
    "GET /x?y\r\n",
    "GET /x y\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "\u{16}\u{3}\u{1}",
    "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n",
    "GET /\r\nGET /2\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b",
    "GET / HTTP/1.1\r\nHost: a\r\nX",
    "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r",
    "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n",
];

fn hosts() -> Vec<Case> {
    const HOSTS: &[&str] = &[
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost:80",
        "localhost:",
        "localhost:x",
        "localhost:1:2",
        "localhost:99999",
        "a..b",
        ".a",
        "a.",
        "..",
        ".",
        "",
        "a b",
        "a/b",
        "a\\b",
        "a,b",
        "a;b",
        "a@b",
        "a_b",
        "a-b",
        "a%20b",
        "a?b",
        "a#b",
        "a\tb",
        "a\u{1}b",
        "a\u{7f}b",
        "\u{e4}",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[zz]",
        "[::1]:x",
        "[::1].",
        "example.org",
        "EXAMPLE.org",
        "example.org.",
        "a.example.org",
        "a.b.example.org",
        "exact.example.org",
        "Exact.Example.Org.",
        "www.example.net",
        "www.example.net.uk",
        "www.example.",
        "both.example",
        "x.both.example",
        ".both.example",
        "xboth.example",
        "abc12.re.example",
        "ABC12.re.example",
        "abc.re.example",
        "abc12.re.example.",
        "abc12.re.example:80",
        "*.example.org",
        "\"\"",
        "http://localhost",
        "user@localhost",
    ];
    let host = |host: &&str| Case {
        name: format!("host {}", host.escape_debug()),
        request: format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .into_bytes(),
    };
    let target = |host: &&str| Case {
        name: format!("target's host {}", host.escape_debug()),
        request: format!("GET http://{host}/ HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
            .into_bytes(),
    };
    HOSTS
        .iter()
        .map(host)
        .chain(HOSTS.iter().map(target))
        .collect()
}

fn methods(uri: &str) -> Vec<Case> {
    const METHODS: &[&str] = &[
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "MKCOL",
        "COPY",
        "MOVE",
        "OPTIONS",
        "PROPFIND",
        "PROPPATCH",
        "LOCK",
        "UNLOCK",
        "PATCH",
        "TRACE",
        "CONNECT",
        "get",
        "X",
        "GETX",
        "GE",
        "A-B",
        "A_B",
        "QUERY",
    ];
    let case = |method: &&str| Case {
        name: format!("{method} {uri}"),
        request: format!("{method} {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .into_bytes(),
    };
    METHODS.iter().map(case).collect()
}

/// Bodies of every framing, each with a request behind it.
fn bodies(uri: &str) -> Vec<Case> {
    const BODIES: &[(&str, &str)] = &[
        ("Content-Length: 0", ""),
        ("Content-Length: 5", "hello"),
        ("Content-Length: 5", "hel"),
        ("Content-Length: 10", "0123456789"),
        ("Content-Length: 11", "0123456789a"),
        ("Content-Length: 005", "hello"),
        ("Content-Length: 5 ", "hello"),
        ("Content-Length: 5, 5", "hello"),
        ("Content-Length: 5\r\nContent-Length: 5", "hello"),
        ("Content-Length: 5\r\nContent-Length: 6", "hello"),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\nhello\n0\n\n"),
        ("Transfer-Encoding: chunked", "05\r\nhello\r\n00\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "5;x=y\r\nhello\r\n0;z\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked", "5 \r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\t;x\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", " 5\r\nhello\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\nX: y\r\nZ: a\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked", "5\r\nhello!\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhell\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "x\r\n"),
        ("Transfer-Encoding: chunked", "-1\r\n"),
        ("Transfer-Encoding: chunked", "\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "A\r\n0123456789\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "a\r\n0123456789\r\n1\r\na\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked", "ffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked", "7fffffffffffffff\r\nx"),
        ("Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhel"),
        ("Transfer-Encoding: chunked", "5\rhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r0\r\n\r\n"),
        (
            "Transfer-Encoding: chunked",
            "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nExpect: 100-continue",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("Content-Length: 5\r\nExpect: 100-continue", "hello"),
        ("Content-Length: 11\r\nExpect: 100-continue", "0123456789a"),
        ("", "hello"),
    ];
    let case = |number: usize, field: &str, body: &str, version: &str| {
        let field = if field.is_empty() {
            String::new()
        } else {
            format!("{field}\r\n")
        };
        Case {
            name: format!("body {number} {uri} {version}: {} | {}", field.trim_end().escape_debug(), body.escape_debug()),
            request: format!("POST {uri} HTTP/{version}\r\nHost: localhost\r\n{field}\r\n{body}GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
        }
    };
    let numbered = BODIES.iter().enumerate();
    numbered
        .flat_map(|(number, (field, body))| {
            ["1.1", "1.0"].map(|version| case(number, field, body, version))
        })
        .collect()
}

fn fields(uri: &str, fields: &[&str]) -> Vec<Case> {
    let case = |field: &&str| {
        let name = format!("{uri} with {}", field.escape_debug());
        get(name, uri, &format!("{field}\r\n"))
    };
    fields.iter().map(case).collect()
}

fn uris(uris: &[&str]) -> Vec<Case> {
    let case = |uri: &&str| Case {
        name: format!("uri {}", uri.escape_debug()),
        request: format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .into_bytes(),
    };
    uris.iter().map(case).collect()
}

fn raws(requests: &[&str]) -> Vec<Case> {
    let case = |request: &&str| raw(&format!("raw {}", request.escape_debug()), request);
    requests.iter().map(case).collect()
}

fn raw(name: &str, request: &str) -> Case {
    Case {
        name: name.to_owned(),
        request: request.as_bytes().to_vec(),
    }
}

fn get(name: String, uri: &str, fields: &str) -> Case {
    let request = format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    Case {
        name,
        request: request.into_bytes(),
    }
}
