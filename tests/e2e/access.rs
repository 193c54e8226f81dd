//! Who may read what.

use daemun_tests::{Server, Setup};

#[test]
fn the_first_rule_that_fits_decides() {
    let server = site(
        "location /open/ { allow 127.0.0.1; deny all; alias {dir}/html/; }
         location /closed/ { deny 127.0.0.0/8; allow all; alias {dir}/html/; }
         location /other/ { allow 10.0.0.0/8; allow 2001:db8::/32; deny all; alias {dir}/html/; }
         location /none/ { alias {dir}/html/; }",
    );
    for (uri, status) in [("/open/a", 200), ("/closed/a", 403), ("/other/a", 403), ("/none/a", 200)]
    {
        assert_eq!(server.get(uri).status, status, "{uri}");
    }
    server.logs("access forbidden by rule, client: 127.0.0.1, server: ");
}

#[test]
fn satisfy_any_wants_one_permission() {
    let server = site(
        "location /any/ { satisfy any; allow 127.0.0.1; deny all; alias {dir}/html/; }
         location /all/ { satisfy all; deny 127.0.0.1; alias {dir}/html/; }",
    );
    assert_eq!(server.get("/any/a").status, 200);
    assert_eq!(server.get("/all/a").status, 403);
}

#[test]
fn rules_are_inherited_unless_a_location_has_its_own() {
    let server = site(
        "deny all;
         location / { }
         location /own/ { allow all; alias {dir}/html/; }",
    );
    assert_eq!(server.get("/a").status, 403);
    assert_eq!(server.get("/own/a").status, 200);
}

#[test]
fn links_are_followed_unless_forbidden() {
    let server = site(
        "location /owner/ { disable_symlinks if_not_owner; alias {dir}/html/; }
         location ~ ^/exact/(.+)$ { disable_symlinks on from=$document_root; alias {dir}/html/$1; }
         location ~ ^/slash/(.+)x$ { disable_symlinks if_not_owner; alias {dir}/html/$1; }
         location /never/ { disable_symlinks on from={dir}/html; alias {dir}/html/; }",
    );
    let link = server.folder().path("html/link");
    std::os::unix::fs::symlink(server.folder().path("html/a"), link).unwrap();
    assert_eq!(server.get("/link").status, 200);
    assert_eq!(server.get("/owner/link").status, 200);
    assert_eq!(server.get("/never/link").status, 403);
    assert_eq!(server.get("/never/a").status, 200);
    assert_eq!(server.get("/exact/link").status, 200);
    assert_eq!(server.get("/slash/link/x").status, 404);
}

fn site(rules: &str) -> Server {
    let server = format!("server {{ listen 127.0.0.1:{{port}}; root {{dir}}/html; {rules} }}");
    Setup::new().file("html/a", "text").http(&server)
}
