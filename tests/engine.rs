//! The ways to run connections: every test can be run under each of them.

/// A process model and an event method.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// As `DAEMUN_TEST_ENGINE` names it.
    pub name: &'static str,
    /// What stands in the main context for it.
    pub mpm: &'static str,
    /// What stands in the `events` block for it.
    pub events: &'static str,
    /// All tests, not only the [`MARKED`] ones.
    pub runs_all: bool,
}

/// The first one is used unless `DAEMUN_TEST_ENGINE` names another; `cargo xtask test` goes through all.
pub const ENGINES: &[Engine] = &[
    whole("native/io_uring", "", ""),
    whole("native/epoll", "", "use epoll;"),
    whole("prefork", "mpm prefork;", ""),
    whole("event", "mpm event;", ""),
    marked("worker", "mpm worker;", ""),
    marked("native/poll", "", "use poll;"),
    marked("native/select", "", "use select;"),
    marked("native/portable", "", "use portable;"),
];

/// The end-to-end tests, by module, that every engine runs: what they try depends on how connections are run.
pub const MARKED: &[&str] = &[
    "bodies::",
    "connections::",
    "framing::",
    "gateways::",
    "handing_over::",
    "limits::",
    "ocsp::",
    "processes::",
    "proxy::",
    "proxy_requests::",
    "proxy_responses::",
    "relays::",
    "requests::",
    "resolving::",
    "sending::",
    "shortages::",
    "tls::",
    "tls_certificates::",
    "tls_clients::",
    "tls_sessions::",
    "tls_terms::",
    "tls_upstreams::",
    "upstreams::",
];

const fn whole(name: &'static str, mpm: &'static str, events: &'static str) -> Engine {
    Engine { name, mpm, events, runs_all: true }
}

const fn marked(name: &'static str, mpm: &'static str, events: &'static str) -> Engine {
    Engine { name, mpm, events, runs_all: false }
}

impl Engine {
    /// The event method.
    pub fn method(self) -> &'static str {
        self.name.split_once('/').map_or("epoll", |(_, method)| method)
    }

    pub fn current() -> Engine {
        let Ok(name) = std::env::var("DAEMUN_TEST_ENGINE") else {
            return ENGINES[0];
        };
        let named = ENGINES.iter().find(|engine| engine.name == name);
        *named.unwrap_or_else(|| panic!("no engine is called {name}"))
    }
}
