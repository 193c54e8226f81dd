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
}

/// The first one is used unless `DAEMUN_TEST_ENGINE` names another; `cargo xtask test` goes through all.
pub const ENGINES: &[Engine] = &[
    Engine { name: "native/epoll", mpm: "", events: "use epoll;" },
    Engine { name: "prefork", mpm: "mpm prefork;", events: "" },
    Engine { name: "event", mpm: "mpm event;", events: "" },
    Engine { name: "worker", mpm: "mpm worker;", events: "" },
    Engine { name: "native/poll", mpm: "", events: "use poll;" },
    Engine { name: "native/select", mpm: "", events: "use select;" },
    Engine { name: "native/portable", mpm: "", events: "use portable;" },
];

impl Engine {
    pub fn current() -> Engine {
        let Ok(name) = std::env::var("DAEMUN_TEST_ENGINE") else {
            return ENGINES[0];
        };
        let named = ENGINES.iter().find(|engine| engine.name == name);
        *named.unwrap_or_else(|| panic!("no engine is called {name}"))
    }
}
