//! Which location answers.

use daemun_tests::Server;

#[test]
fn modifiers_decide_in_nginx_order() {
    let server = Server::http(
        "server {
             listen 127.0.0.1:{port};
             location / { return 200 prefix; }
             location = / { return 200 exact; }
             location /images/ { return 200 images; }
             location ^~ /static/ { return 200 static; }
             location ~ \\.gif$ { return 200 gif; }
             location ~* \\.(jpg|png)$ { return 200 picture; }
         }",
    );
    for (uri, expected) in [
        ("/", "exact"),
        ("/x", "prefix"),
        ("/images/a", "images"),
        ("/images/a.gif", "gif"),
        ("/images/a.GIF", "images"),
        ("/static/a.gif", "static"),
        ("/A.JPG", "picture"),
        ("/images/../static/x.gif", "static"),
    ] {
        assert_eq!(server.get(uri).text(), expected, "{uri}");
    }
}
