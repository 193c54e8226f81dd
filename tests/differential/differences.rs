//! Where daemun answers otherwise than Debian's nginx 1.22, and why. nginx 1.31 is the specification: a reason that
//! begins with "version" is a difference between the two nginxes.

/// Cases, or kinds of cases, whose answers differ for one reason.
pub struct Difference {
    #[allow(dead_code, reason = "read by people")]
    pub reason: &'static str,
    pub configuration: &'static str,
    pub cases: &'static [&'static str],
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "a character set that has no name is not told; nginx closes the connection",
        configuration: "filters",
        cases: &[
            "old /told/a.txt",
            "head /told/a.txt",
            "head /told/a.txt with Range: bytes=2-5",
            "old /told/a.txt with Range: bytes=2-5",
        ],
    },
    Difference {
        reason: "version: files that were compressed beforehand have ranges",
        configuration: "filters",
        cases: &[
            "head /static/packed.txt with Accept-Encoding: gzip",
            r"head /static/packed.txt with Accept-Encoding: gzip\r\nRange: bytes=0-1",
            "head /always/packed.txt with Accept-Encoding: gzip",
        ],
    },
    Difference {
        reason: "a CR without LF is no part of a field: others may take it for the end of a line",
        configuration: "echo",
        cases: &[r"/ with X: a\r", r"/ with X: a\r\r\n"],
    },
    Difference {
        reason: "a CR without LF is no part of a field: others may take it for the end of a line",
        configuration: "limits",
        cases: &[r"/echo with X: a\r", r"/echo with X: a\r\r\n"],
    },
    Difference {
        reason: "a request without a body waits for no leave to send one",
        configuration: "echo",
        cases: &["/ with Expect: 100-continue"],
    },
    Difference {
        reason: "a request without a body waits for no leave to send one",
        configuration: "limits",
        cases: &["/echo with Expect: 100-continue"],
    },
    Difference {
        reason: "blanks behind the version are no part of $server_protocol",
        configuration: "echo",
        cases: &[
            r"raw GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            r"raw GET / HTTP/1.1  \r\nHost: a\r\n\r\n",
        ],
    },
    Difference {
        reason: "the length of a listing is known before it is sent",
        configuration: "rules",
        cases: &[
            "uri /html/",
            "uri /json/",
            "uri /jsonp/",
            "uri /jsonp/?callback=f",
            "uri /xml/",
            "uri /local/",
            "uri /html/folder/",
            "uri /json/folder/",
        ],
    },
    Difference {
        reason: "the length of a listing is known before it is sent",
        configuration: "site",
        cases: &["uri /auto/"],
    },
    Difference {
        reason: "version: 1.22 knows no CONNECT and takes its target for a path",
        configuration: "echo",
        cases: &["CONNECT /", r"raw CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"],
    },
    Difference {
        reason: "version: 1.22 knows no CONNECT and takes its target for a path",
        configuration: "rules",
        cases: &[
            "CONNECT /limited/a.txt",
            "CONNECT /201",
            "CONNECT /pages/403",
            "CONNECT /headers/a.txt",
        ],
    },
    Difference {
        reason: "version: 1.22 knows no CONNECT and takes its target for a path",
        configuration: "site",
        cases: &["CONNECT /a.txt", "CONNECT /folder"],
    },
    Difference {
        reason: "version: 1.22 knows no CONNECT and takes its target for a path",
        configuration: "rewriting",
        cases: &["CONNECT /return/", "CONNECT /none/x"],
    },
    Difference {
        reason: "version: 1.22 takes an address in brackets for none where no port follows",
        configuration: "clients",
        cases: &[
            "/real/a.txt with X-Forwarded-For: [192.0.2.1]",
            "/real/a.txt with X-Forwarded-For: [2001:db8::1]",
            "/real/all/a.txt with X-Forwarded-For: [2001:db8::1]",
        ],
    },
    Difference {
        reason: "version: 1.22 knows no CONNECT and takes its target for a path",
        configuration: "clients",
        cases: &["CONNECT /auth/limited/a.txt"],
    },
    Difference {
        reason: "version: since 1.23 the values of fields that repeat are joined",
        configuration: "echo",
        cases: &[
            r"/ with X: a\r\nX: b",
            r"/ with User-Agent: x\r\nUser-Agent: y",
            r"/ with Referer: z\r\nReferer: y",
            r"/ with Via: 1.1 a\r\nVia: 1.1 b",
            r"/ with Content-Type: a/b\r\nContent-Type: c/d",
        ],
    },
    Difference {
        reason: "version: since 1.23 the values of fields that repeat are joined",
        configuration: "limits",
        cases: &[r"/echo with X: a\r\nX: b"],
    },
    Difference {
        reason: "version: 1.31 refuses a host that RFC 3986 does not allow",
        configuration: "echo",
        cases: &[
            "uri http://localhost:99999/a.txt",
            "host localhost:x",
            "host localhost:1:2",
            "host localhost:99999",
            r"host a\\b",
            "host a@b",
            "host a?b",
            "host a#b",
            "host ä",
            "host [::1",
            "host [::1]x",
            "host [::1]:x",
            "host [::1].",
            r#"host \"\""#,
            "host user@localhost",
            "target's host localhost:99999",
        ],
    },
    Difference {
        reason: "version: 1.31 refuses a host that RFC 3986 does not allow",
        configuration: "site",
        cases: &["uri http://localhost:99999/a.txt"],
    },
    Difference {
        reason: "version: 1.31 wants CRLF behind every line of the chunked coding",
        configuration: "echo",
        cases: &[
            r"body 14 / 1.1: Transfer-Encoding: chunked | 5\nhello\n0\n\n",
            r"body 23 / 1.1: Transfer-Encoding: chunked | 5\r\nhell\r\n0\r\n\r\n",
        ],
    },
    Difference {
        reason: "version: 1.31 wants CRLF behind every line of the chunked coding",
        configuration: "limits",
        cases: &[
            r"body 14 /echo 1.1: Transfer-Encoding: chunked | 5\nhello\n0\n\n",
            r"body 23 /echo 1.1: Transfer-Encoding: chunked | 5\r\nhell\r\n0\r\n\r\n",
            r"body 14 /unlimited 1.1: Transfer-Encoding: chunked | 5\nhello\n0\n\n",
            r"body 23 /unlimited 1.1: Transfer-Encoding: chunked | 5\r\nhell\r\n0\r\n\r\n",
            r"body 14 /file 1.1: Transfer-Encoding: chunked | 5\nhello\n0\n\n",
            r"body 23 /file 1.1: Transfer-Encoding: chunked | 5\r\nhell\r\n0\r\n\r\n",
        ],
    },
    Difference {
        reason: "an interim response that nginx takes for the final one has no body: a client would take it for the next response",
        configuration: "responses",
        cases: &[
            r"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            r"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhi",
            r"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            r"Status: 100 C\r\n\r\nbody",
            r"Status: 1000 x\r\n\r\nn",
            r"Status: 101 C\r\n\r\nbody",
            r"Status: 103 C\r\nX: y\r\n\r\nStatus: 200 OK\r\n\r\nbody",
        ],
    },
    Difference {
        reason: "what is no answer of HTTP/1 is 502: a client could take it for another's",
        configuration: "responses",
        cases: &[
            r"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
            r"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
            r"HTTP/1.1 99 OK\r\nContent-Length: 2\r\n\r\nok",
            r"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
            r"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            r"hello world, no header at all\n",
        ],
    },
    Difference {
        reason: "what came before the flaw of a chunked body is passed on",
        configuration: "responses",
        cases: &[r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\n0\n\n"],
    },
    Difference {
        reason: "version: 1.31 refuses framing that is none, or told twice",
        configuration: "responses",
        cases: &[
            r"Content-Length: -1\r\n\r\nx",
            r"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            r"Content-Length: x\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            r"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
            r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            r"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            r"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        ],
    },
    Difference {
        reason: "version: 1.31 takes the first of fields that count once",
        configuration: "responses",
        cases: &[
            r"Content-Type: text/plain\r\nContent-Type: text/css\r\n\r\nok",
            r"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok",
            r"HTTP/1.1 302 Moved\r\nLocation: x/y\r\nLocation: z\r\nContent-Length: 0\r\n\r\n",
            r"Status: 404\r\nStatus: 200\r\n\r\nx",
        ],
    },
    Difference {
        reason: "version: 1.31 gives a status its reason",
        configuration: "responses",
        cases: &[r"Status: 404 \r\n\r\nnope", r"Status: 404\r\n\r\nnope", r"Status: 600\r\n\r\nn"],
    },
    Difference {
        reason: "version: 1.31 passes all that a server asks of the client",
        configuration: "responses",
        cases: &[
            r#"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Digest y\r\nContent-Length: 0\r\n\r\n"#,
            r#"Status: 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: D\r\n\r\n"#,
        ],
    },
    Difference {
        reason: "version: 1.22 knows no early hints",
        configuration: "responses",
        cases: &[
            r"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ],
    },
];
