//! HTTP/2 as others test it: the suite of the crate httpwg.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use buffet::IntoHalves;
use buffet::net::TcpStream;
use daemun_tests::Server;
use httpwg::{Config, Conn};

httpwg_macros::gen_catalog!(catalog);

/// How long the suite waits for a frame that may not come; it takes silence for consent in places.
const FRAME: Duration = Duration::from_secs(2);

#[test]
fn the_suite_of_httpwg_has_no_objection() {
    let server = Server::http(
        "http2 on;
         server { listen 127.0.0.1:{port2}; return 200 'more than five bytes'; }
         server { listen 127.0.0.1:{port}; location / { proxy_pass http://127.0.0.1:{port2}; } }",
    );
    let address = format!("127.0.0.1:{}", server.port()).parse().unwrap();
    let config = |test: &str| {
        let mut config = Config { timeout: FRAME, ..Config::default() };
        if test == "large headers frame exceeding max size" {
            // The suite expects five fields of this length to be more than a frame may have here.
            config.max_header_len = 15_000;
        }
        Rc::new(config)
    };
    let objections = buffet::start(async move {
        let tasks = tokio::task::LocalSet::new();
        let mut running = Vec::new();
        for (section, tests) in catalog::<TcpStream>().into_values().flatten() {
            for (name, test) in tests {
                let config = config(name);
                let outcome = tasks.spawn_local(async move {
                    let stream = TcpStream::connect(address).await.unwrap();
                    test(Conn::new(config, stream)).await
                });
                running.push((section, name, outcome));
            }
        }
        tasks.await;
        assert!(running.len() > 50, "the suite is here");
        let mut objections = Vec::new();
        for (section, name, outcome) in running {
            match outcome.await {
                Ok(Ok(())) => {}
                Ok(Err(objection)) => objections.push(format!("{section} {name}: {objection:#}")),
                Err(panic) => objections.push(format!("{section} {name}: {panic}")),
            }
        }
        objections
    });
    assert!(objections.is_empty(), "{objections:#?}");
}
