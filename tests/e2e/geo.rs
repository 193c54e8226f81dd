//! Variables that depend on addresses, and on chance.

use daemun_tests::{Server, Setup};

#[test]
fn networks_and_ranges_have_values() {
    let server = Setup::new().file("more.conf", "198.51.100.0/24 included;").http(
        "geo $arg_ip $network {
             default nowhere;
             10.0.0.0/8 inside;
             10.9.0.0/16 lab;
             2001:db8::/32 six;
             192.0.2.0/24 gone;
             delete 192.0.2.0/24;
             include {dir}/more.conf;
         }
         geo $arg_ip $range {
             ranges;
             default nowhere;
             10.0.0.0-10.1.255.255 wide;
             10.0.0.5-10.0.0.6 narrow;
         }
         geo $here { 127.0.0.0/8 home; }
         server { listen 127.0.0.1:{port}; return 200 \"$network $range $here\"; }",
    );
    for (ip, expected) in [
        ("10.1.2.3", "inside wide home"),
        ("10.9.9.9", "lab nowhere home"),
        ("10.0.0.5", "inside narrow home"),
        ("2001:db8::1", "six nowhere home"),
        ("::ffff:10.0.0.6", "inside narrow home"),
        ("192.0.2.1", "nowhere nowhere home"),
        ("198.51.100.7", "included nowhere home"),
        ("nonsense", "nowhere nowhere home"),
    ] {
        assert_eq!(server.get(&format!("/?ip={ip}")).text(), expected, "{ip}");
    }
}

#[test]
fn clients_behind_proxies_are_found() {
    let server = Server::http(
        "geo $last { proxy 127.0.0.1; default unknown; 192.0.2.0/24 client; 10.0.0.0/8 proxy; }
         geo $first {
             proxy_recursive; proxy 127.0.0.1; proxy 10.0.0.0/8;
             default unknown; 192.0.2.0/24 client; 10.0.0.0/8 proxy;
         }
         server { listen 127.0.0.1:{port}; return 200 \"$last $first\"; }",
    );
    let from = |value: &str| {
        let field = format!("X-Forwarded-For: {value}");
        server.get_with("/", &[&field]).text().to_owned()
    };
    assert_eq!(from("192.0.2.1"), "client client");
    assert_eq!(from("192.0.2.1, 10.0.0.1"), "proxy client");
    assert_eq!(server.get("/").text(), "unknown unknown");
}

#[test]
fn a_client_stays_in_its_part() {
    let server = Server::http(
        "split_clients $arg_client $part { 30% a; 0.5% b; * c; }
         server { listen 127.0.0.1:{port}; return 200 $part; }",
    );
    let part = |client: usize| server.get(&format!("/?client={client}")).text().to_owned();
    let parts: Vec<String> = (0..200).map(part).collect();
    let first = parts.iter().filter(|part| *part == "a").count();
    assert!((30..90).contains(&first), "{first} of 200");
    assert!(parts.contains(&"c".to_owned()));
    assert_eq!(part(7), parts[7]);
}

#[test]
fn mistakes_are_told_in_nginx_words() {
    for (text, sentence) in [
        ("geo $x { 10.0.0 a; }", "invalid network \"10.0.0\""),
        ("geo $x { 10.1.0.0/8 a; }", "low address bits of 10.1.0.0/8 are meaningless"),
        (
            "geo $x { 10.0.0.0/8 a; 10.0.0.0/8 b; }",
            "duplicate network \"10.0.0.0/8\", value: \"b\", old value: \"a\"",
        ),
        ("geo $x { delete 10.0.0.0/8; }", "no network \"10.0.0.0/8\" to delete"),
        (
            "geo $x { 10.0.0.0/8 a; ranges; }",
            "the \"ranges\" directive must be the first directive inside \"geo\" block",
        ),
        ("geo $x { ranges; 10.0.0.9-10.0.0.1 a; }", "invalid range \"10.0.0.9-10.0.0.1\""),
        (
            "geo $x { ranges; 10.0.0.1-10.0.0.9 a; 10.0.0.5-10.0.0.20 b; }",
            "range \"10.0.0.5-10.0.0.20\" overlaps \"10.0.0.1-10.0.0.9\"",
        ),
        ("geo $x { a b c; }", "invalid number of the geo parameters"),
        ("split_clients a $x { 60% a; 50% b; }", "percent total is greater than 100%"),
        ("split_clients a $x { 1.234% a; }", "invalid percent value \"1.234%\""),
    ] {
        let text = format!("events {{ }} http {{ {text} server {{ listen {{port}}; }} }}");
        let output = Setup::new().run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}
