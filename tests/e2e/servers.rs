//! Which virtual server answers.

use daemun_tests::{Client, Server, Setup};

#[test]
fn a_host_finds_its_server() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; server_name first; return 200 first; }
         server { listen 127.0.0.1:{port}; server_name example.org; return 200 exact; }
         server { listen 127.0.0.1:{port}; server_name *.example.org; return 200 below; }
         server { listen 127.0.0.1:{port}; server_name *.deep.example.org; return 200 deeper; }
         server { listen 127.0.0.1:{port}; server_name www.*; return 200 www; }
         server { listen 127.0.0.1:{port}; server_name .both.net; return 200 both; }
         server {
             listen 127.0.0.1:{port};
             server_name ~^(?<user>[a-z]+)\\.users\\.net$;
             return 200 \"user $user\";
         }
         server { listen 127.0.0.1:{port} default_server; server_name \"\"; return 200 default; }
         server_names_hash_max_size 1024;
         server_names_hash_bucket_size 128;",
    );
    for (host, expected) in [
        ("first", "first"),
        ("example.org", "exact"),
        ("EXAMPLE.ORG:8080", "exact"),
        ("example.org.", "exact"),
        ("a.example.org", "below"),
        ("a.deep.example.org", "deeper"),
        ("www.example.com", "www"),
        ("www.example.org", "below"),
        ("both.net", "both"),
        ("a.both.net", "both"),
        ("ann.users.net", "user ann"),
        ("ann1.users.net", "default"),
        ("unknown", "default"),
    ] {
        assert_eq!(server.get_from(host, "/").text(), expected, "{host}");
    }
    let old = server.send("GET / HTTP/1.0\r\n\r\n");
    assert!(old.ends_with("\r\n\r\ndefault"), "{old}");
}

#[test]
fn a_malformed_name_is_refused_where_names_choose() {
    let setup = Setup::new();
    let alone = |name: &str| format!("server {{ listen {}; server_name {name}; }}", setup.port());
    let check = |servers: &str| setup.run(&format!("events {{}} http {{ {servers} }}"), &["-t"]);
    for name in ["a.*.com", "a..b", "*.a.*", ".a..b"] {
        let output = check(&alone(name));
        assert_eq!(output.code, Some(0), "{name}: {}", output.stderr);
        let output = check(&(alone(name) + &alone("other")));
        let port = setup.port();
        let sentence =
            format!("[emerg] invalid server name or wildcard \"{name}\" on 0.0.0.0:{port} in ");
        assert!(output.stderr.contains(&sentence), "{name}: {}", output.stderr);
    }
    for name in ["*", "*.", ".", "*a.com"] {
        let output = check(&alone(name));
        let sentence = format!("[emerg] server name \"{name}\" is invalid in ");
        assert!(output.stderr.contains(&sentence), "{name}: {}", output.stderr);
    }
}

#[test]
fn addresses_have_servers_of_their_own() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; server_name a; return 200 \"one $server_port\"; }
         server { listen 127.0.0.1:{port2}; server_name a; return 200 \"two $server_port\"; }",
    );
    let (first, second) = (server.port(), server.port2());
    assert_eq!(server.get_from("a", "/").text(), format!("one {first}"));
    let answer = Client::connect(second).get("/");
    assert_eq!(answer.text(), format!("two {second}"));
}

#[test]
fn unix_sockets_are_served_and_removed() {
    let server = Server::http(
        "server { listen 127.0.0.1:{port}; listen unix:{dir}/socket; return 200 $remote_addr; }",
    );
    let path = server.folder().path("socket");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let mut answer = String::new();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nunix:"), "{answer}");
    assert_eq!(server.get("/").text(), "127.0.0.1");
}
