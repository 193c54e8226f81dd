//! The client behind trusted proxies.

use daemun_tests::{Server, Setup};

#[test]
fn a_trusted_proxy_names_its_client() {
    let server = Server::http(
        "set_real_ip_from 127.0.0.1;
         set_real_ip_from 10.0.0.0/8;
         server {
             listen 127.0.0.1:{port};
             location / { return 200 no; }
             location /named { allow 192.0.2.1; deny all; error_page 404 = @tell; }
             location /list {
                 real_ip_header X-Forwarded-For;
                 real_ip_recursive on;
                 error_page 404 = @tell;
             }
             location /own { real_ip_header Client; error_page 404 = @tell; }
             location @tell { return 200 \"$remote_addr $remote_port $realip_remote_addr\"; }
         }",
    );
    let get = |uri: &str, field: &str| server.get_with(uri, &[field]);
    assert_eq!(get("/named", "X-Real-IP: 192.0.2.1:77").text(), "192.0.2.1 77 127.0.0.1");
    assert_eq!(get("/named", "X-Real-IP: 192.0.2.2").status, 403);
    server.logs("access forbidden by rule, client: 192.0.2.2, server: ");
    let list = "X-Forwarded-For: 203.0.113.5, 192.0.2.1, 10.0.0.1";
    assert_eq!(get("/list", list).text(), "192.0.2.1  127.0.0.1");
    assert_eq!(get("/own", "Client: 2001:db8::1").text(), "2001:db8::1  127.0.0.1");
}

#[test]
fn the_next_request_begins_anew() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             set_real_ip_from 127.0.0.0/8;
             return 200 \"$remote_addr|$realip_remote_addr|$binary_remote_addr\";
         }",
    );
    let mut client = server.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 65.66.67.68\r\n\r\n");
    assert_eq!(client.answer().text(), "65.66.67.68|127.0.0.1|ABCD");
    let again = client.get("/");
    assert!(again.body.starts_with(b"127.0.0.1|127.0.0.1|\x7f"), "{:?}", again.body);
}

#[test]
fn strangers_are_not_believed_and_unknown_hosts_refused() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; set_real_ip_from unix:; return 200 $remote_addr; }",
    );
    assert_eq!(server.get_with("/", &["X-Real-IP: 192.0.2.1"]).text(), "127.0.0.1");
    let text = "events { } http { server { listen {port}; set_real_ip_from no..name; } }";
    let output = Setup::new().run(text, &["-t"]);
    let sentence = "host not found in set_real_ip_from \"no..name\"";
    assert!(output.stderr.contains(sentence), "{}", output.stderr);
}
