//! From Debian's nginx up to daemun and back: no new connection is refused.

use std::path::Path;

use daemun_tests::{Kind, Setup, binary};

use crate::daemon::{Daemon, install};

const NGINX: &str = "/usr/sbin/nginx";

#[test]
fn from_nginx_to_daemun_and_back() {
    let setup = Setup::new().called("nginx").with_any_engine();
    install(&setup, "nginx", Path::new(NGINX));
    let daemon = Daemon::start_with(setup, 2, "");
    let load = daemon.load(100);

    daemon.install("nginx", binary());
    daemon.upgrade_and_go_back(2);
    load.goes_round();
    daemon.upgrade(2);
    load.goes_round();
    daemon.install("nginx", Path::new(NGINX));
    daemon.upgrade_and_go_back(2);
    load.goes_round();
    daemon.upgrade(2);
    load.goes_round();

    let (kept, fresh) = load.finish();
    println!("  kept connections: {}", kept.line());
    println!("  new connections:  {}", fresh.line());
    for tally in [&kept, &fresh] {
        assert!(tally.answered > 0, "there was no load");
        assert_eq!(tally.count(Kind::Refused), 0);
        assert_eq!(tally.count(Kind::Cut), 0);
        assert_eq!(tally.count(Kind::Wrong), 0);
    }
}
