//! Names that are resolved while the server runs.

use daemun_tests::Setup;

#[test]
fn a_resolver_has_name_servers_and_says_what_it_does_not_understand() {
    let setup = Setup::new();
    let output = setup.run(
        "events { }
http {
    server { resolver 127.0.0.1:99999; }
    server { resolver valid=30s; }
    server { resolver 127.0.0.1 valid=soon; }
    server { resolver 127.0.0.1 ipv4=off ipv6=off; }
    server { resolver 127.0.0.1; resolver [::1]:5353 ipv6=off valid=30s; }
    server { resolver_timeout never; }
    upstream backend { server 127.0.0.1; resolver :53; resolver_timeout 5s; }
}
",
        &["-t"],
    );
    assert_eq!(output.code, Some(1));
    for part in [
        "invalid port in resolver \"127.0.0.1:99999\" in ",
        "no name servers defined in ",
        "invalid parameter: valid=soon in ",
        "\"ipv4\" and \"ipv6\" cannot both be \"off\" in ",
        "\"resolver\" directive is duplicate in ",
        "\"resolver_timeout\" directive invalid value in ",
    ] {
        assert!(output.stderr.contains(part), "{part:?} in:\n{}", output.stderr);
    }
}
