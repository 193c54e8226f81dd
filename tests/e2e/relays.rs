//! Upgraded connections and tunnels go on in the workers of another configuration.

use daemun_tests::{Client, Server, children, eventually};

use crate::backend::echo;

fn upgraded(server: &Server) -> Client {
    let mut client = server.client();
    client.send(
        "GET /chat?room=1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    );
    assert_eq!(client.head().status, 101);
    says(&mut client, "hello");
    client
}

fn says(client: &mut Client, word: &str) {
    client.send(word);
    assert_eq!(client.exactly(word.len()), word.as_bytes());
}

fn reload(server: &Server, content: &str) -> Vec<i32> {
    let old = children(server.pid());
    server.configure_http(content);
    let output = server.run(&["-s", "reload"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    old
}

fn old_ones_end(server: &Server, old: &[i32]) {
    eventually("the old workers end", || {
        children(server.pid()).iter().all(|worker| !old.contains(worker))
    });
}

fn proxying(port: u16, format: &str, listen: &str) -> String {
    format!(
        "log_format relay '{format}';
         upstream behind {{ zone behind 64k; server 127.0.0.1:{port} max_conns=1; }}
         server {{
             listen 127.0.0.1:{listen};
             set $room $arg_room;
             location /chat {{
                 access_log {{dir}}/relays.log relay;
                 proxy_pass http://behind;
                 proxy_set_header Upgrade $http_upgrade;
                 proxy_set_header Connection upgrade;
             }}
         }}"
    )
}

#[test]
fn an_upgraded_connection_outlives_reloads_and_leaves_one_line() {
    let port = echo();
    let before = proxying(port, "before $upstream_http_x_from $sent_http_upgrade", "{port}");
    let after = proxying(
        port,
        "$request $status $body_bytes_sent $upstream_addr $upstream_bytes_sent \
         $upstream_http_x_from $sent_http_upgrade $http_host $uri $room $server_name.",
        "{port}",
    );
    let server = Server::http(&before);
    let mut client = upgraded(&server);
    for content in [&before, &after] {
        let old = reload(&server, content);
        old_ones_end(&server, &old);
        says(&mut client, "again");
    }
    client.send("bye");
    assert_eq!(client.rest(), b"bye");
    let line = format!("GET /chat?room=1 HTTP/1.1 101 18 127.0.0.1:{port} ");
    server.file_has("relays.log", &line);
    let log = server.folder().read("relays.log");
    assert!(log.ends_with(" echo echo a /chat 1 .\n"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

#[test]
fn a_peer_counts_the_connections_that_came_from_another_process() {
    let port = echo();
    let content = proxying(port, "$status", "{port}");
    let mut server = Server::http(&content);
    server.expect("no live upstreams");
    let mut client = upgraded(&server);
    let old = reload(&server, &content);
    old_ones_end(&server, &old);
    says(&mut client, "again");
    assert_eq!(server.get("/chat").status, 502);
    client.send("bye");
    assert_eq!(client.rest(), b"bye");
    eventually("there is room for another", || {
        let mut client = server.client();
        client
            .send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        client.head().status == 101
    });
}

#[test]
fn a_tunnel_outlives_a_reload() {
    let content = "
        log_format relay '$request_method $status $body_bytes_sent $request_time';
        server {
            listen 127.0.0.1:{port};
            access_log {dir}/relays.log relay;
            location / { tunnel_pass; }
        }";
    let server = Server::http(content);
    let target = format!("127.0.0.1:{}", echo());
    let mut client = server.client();
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
    assert_eq!(client.head().status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 101);
    let old = reload(&server, content);
    old_ones_end(&server, &old);
    says(&mut client, "through");
    drop(client);
    server.file_has("relays.log", "CONNECT 200 ");
    assert_eq!(server.folder().read("relays.log").lines().count(), 1);
}

#[test]
fn a_relay_that_nobody_can_take_ends_where_it_began() {
    let port = echo();
    let server = Server::http(&proxying(port, "before $body_bytes_sent", "{port}"));
    let mut client = upgraded(&server);
    let old = reload(&server, &proxying(port, "after $body_bytes_sent", "{port2}"));
    server.logs("gracefully shutting down");
    says(&mut client, "still");
    says(&mut client, "here");
    client.send("bye");
    assert_eq!(client.rest(), b"bye");
    server.file_has("relays.log", "before 17");
    old_ones_end(&server, &old);
}
