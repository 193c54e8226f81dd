//! Passwords.

use std::time::{Duration, Instant};

use daemun_tests::{Server, Setup};

const USERS: &str = "# of the house\n\
    ann:{PLAIN}password\n\
    bob:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\n\
    cid:sa3tHJ3/KuYvI:a comment\r\n\
    dan:{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0\n\
    eva:$1$salt$qJH7.N4xYta3aEG/dfqo/0\n\
    fay:$5$saltstring$OH4IDuTlsuTYPdED1gsuiRMyTAwNlRWyA6Xr3I4/dQ5\n\
    gus:$2y$04$2j9L6RQZWiLlUyM.XSpR1O4xhx/qsu3oycGjxBUKYcIWU530ke39a\n\
    hal:$9$nobody$knows\n";

fn site(rules: &str) -> Server {
    let server = format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/html; {rules} }}");
    Setup::new().file("html/a", "text").file("users", USERS).http(&server)
}

/// `user:password` in base64.
fn with(credentials: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let encoded: String = credentials
        .as_bytes()
        .chunks(3)
        .flat_map(|chunk| {
            let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            [18, 12, 6, 0].map(|shift| digit(bits >> shift)).into_iter().take(chunk.len() + 1)
        })
        .collect();
    format!("Authorization: Basic {encoded}")
}

#[test]
fn every_form_of_password_opens_the_door() {
    let server = site(
        "location / { auth_basic \"the house\"; auth_basic_user_file {dir}/users; }
         location /off/ { auth_basic off; auth_basic_user_file {dir}/users; alias {dir}/html/; }",
    );
    let closed = server.get("/a");
    assert_eq!(closed.status, 401);
    assert_eq!(closed.header("WWW-Authenticate"), Some("Basic realm=\"the house\""));
    assert_eq!(server.get("/off/a").status, 200);
    for user in ["ann", "bob", "cid", "dan", "eva", "fay", "gus"] {
        let status =
            |password| server.get_with("/a", &[&with(&format!("{user}:{password}"))]).status;
        assert_eq!((status("password"), status("passwort")), (200, 401), "{user}");
        server.logs(&format!("user \"{user}\": password mismatch"));
    }
    assert_eq!(server.get_with("/a", &[&with("ida:password")]).status, 401);
    server.logs("user \"ida\" was not found in \"");
    assert_eq!(server.get_with("/a", &[&with("hal:password")]).status, 500);
    server.logs("crypt_r() failed (22: Invalid argument)");
}

#[test]
fn a_file_of_users_may_be_computed() {
    let server = site(
        "location / { auth_basic x; auth_basic_user_file $arg_file; }
         location /missing { auth_basic x; auth_basic_user_file {dir}/missing; }",
    );
    let ann = with("ann:password");
    // Relative to the configuration's folder.
    assert_eq!(server.get_with("/a?file=users", &[&ann]).status, 200);
    assert_eq!(server.get_with("/missing", &[&ann]).status, 403);
    assert_eq!(server.get_with("/a?file=html", &[&ann]).status, 500);
}

#[test]
fn an_address_or_a_password_satisfies() {
    let server = site(
        "auth_basic x;
         auth_basic_user_file {dir}/users;
         location /address/ { satisfy any; allow 127.0.0.1; deny all; alias {dir}/html/; }
         location /password/ { satisfy any; deny all; alias {dir}/html/; }
         location /both/ { deny all; alias {dir}/html/; }",
    );
    let ann = with("ann:password");
    let address = server.get("/address/a");
    assert_eq!((address.status, address.header("WWW-Authenticate")), (200, None));
    assert_eq!(server.get("/password/a").status, 401);
    assert_eq!(server.get_with("/password/a", &[&ann]).status, 200);
    assert_eq!(server.get_with("/both/a", &[&ann]).status, 403);
}

#[test]
fn a_refusal_is_held_back() {
    let server =
        site("location / { auth_delay 300ms; auth_basic x; auth_basic_user_file {dir}/users; }");
    let start = Instant::now();
    assert_eq!(server.get_with("/a", &[&with("ann:wrong")]).status, 401);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    server.logs("delaying unauthorized request");
    assert_eq!(server.get_with("/a", &[&with("ann:password")]).status, 200);
}
