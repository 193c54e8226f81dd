//! `upstream`: groups of servers that requests are passed to.
//!
//! ```nginx
//! upstream backend {
//!     least_conn;
//!     server 127.0.0.1:8081 weight=5;
//!     server 127.0.0.1:8082 max_fails=3 fail_timeout=30s;
//!     server unix:/run/app.sock max_conns=100 route=c;
//!     server 127.0.0.1:8083 backup;
//!     keepalive 64;
//!     keepalive_timeout 30s;
//! }
//! ```

use daemun_core::directives;
use daemun_core::module::{Directive, Module};
use daemun_http::module::HttpModule;

use crate::shared::upstream::{self, SETTINGS, keepalive, methods, state, zone};

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_upstream",
        settings: Some(&SETTINGS),
        directives: directives! {
            "upstream" in HTTP, Block(1, 1), "", Action::Set(upstream::upstream),
                "Names a group of servers.";
            "server" in UPSTREAM, AtLeast(1), "", Action::Set(upstream::server),
                "A server of the group, with its weight and limits.";
        },
    },
    ..HttpModule::EMPTY
};

pub static HASH: HttpModule = part(
    "http_upstream_hash_module",
    directives! {
        "hash" in UPSTREAM, Between(1, 2), "", Action::Set(methods::hash),
            "Sends requests of one key to one server; consistent: few keys move when servers come and go.";
    },
);

pub static IP_HASH: HttpModule = part(
    "http_upstream_ip_hash_module",
    directives! {
        "ip_hash" in UPSTREAM, Exactly(0), "", Action::Set(methods::ip_hash),
            "Sends requests of one client to one server.";
    },
);

pub static LEAST_CONN: HttpModule = part(
    "http_upstream_least_conn_module",
    directives! {
        "least_conn" in UPSTREAM, Exactly(0), "", Action::Set(methods::least_conn),
            "Prefers the server with the fewest connections for its weight.";
    },
);

pub static LEAST_TIME: HttpModule = part(
    "http_upstream_least_time_module",
    directives! {
        "least_time" in UPSTREAM, Between(1, 2), "", Action::Set(methods::least_time),
            "Prefers the server that has been answering fastest, and has the fewest connections.";
    },
);

pub static RANDOM: HttpModule = part(
    "http_upstream_random_module",
    directives! {
        "random" in UPSTREAM, Between(0, 2), "", Action::Set(methods::random),
            "Takes a random server, or the better one of two.";
    },
);

pub static KEEPALIVE: HttpModule = part(
    "http_upstream_keepalive_module",
    directives! {
        "keepalive" in UPSTREAM, Between(1, 2), "32 local", Action::Set(keepalive::keepalive),
            "How many idle connections to the group's servers each worker keeps.";
        "keepalive_requests" in UPSTREAM, Exactly(1), "1000", Action::Set(keepalive::requests),
            "How many requests may go over one kept connection.";
        "keepalive_time" in UPSTREAM, Exactly(1), "1h", Action::Set(keepalive::time),
            "How long a kept connection may be used after it was made.";
        "keepalive_timeout" in UPSTREAM, Exactly(1), "60s", Action::Set(keepalive::timeout),
            "How long an idle connection is kept.";
    },
);

pub static ZONE: HttpModule = part(
    "http_upstream_zone_module",
    directives! {
        "zone" in UPSTREAM, Between(1, 2), "", Action::Set(zone::zone),
            "Shares what is known of the group's servers among all workers.";
        "queue" in UPSTREAM, Between(1, 2), "", Action::Set(zone::queue),
            "How many requests may wait for a server where none can be asked.";
        "state" in UPSTREAM, Exactly(1), "", Action::Set(state::state),
            "A file that holds the group's servers.";
    },
);

/// nginx has a module for each of these; here they share the block's settings.
const fn part(name: &'static str, directives: &'static [Directive]) -> HttpModule {
    HttpModule { base: Module { name, directives, settings: None }, ..HttpModule::EMPTY }
}

#[cfg(test)]
pub(super) mod tests {
    use daemun_core::tables;
    use daemun_core::{main_context, module::Module};
    use daemun_http::core;

    /// What is wrong with a configuration.
    pub fn load(text: &str) -> Vec<String> {
        let http = core::PARTS.iter().chain(crate::http::MODULES).map(|module| &module.base);
        let all: Vec<&'static Module> = main_context::MODULES.iter().copied().chain(http).collect();
        tables::load(&all, &format!("http {{ {text} }}")).err().unwrap_or_default()
    }

    #[test]
    fn groups_are_read() {
        for text in [
            "upstream u { server 127.0.0.1; }",
            "upstream u { server unix:/tmp/a weight=2 max_conns=3 max_fails=0 fail_timeout=1m; }",
            "upstream u { server 127.0.0.1 down; server [::1]:81 drain; server 127.0.0.2 backup; }",
            "upstream u { server 127.0.0.1 route=a slow_start=30s; least_conn; keepalive 4 local; }",
            "upstream u { hash $uri consistent; server 127.0.0.1; } upstream v { server 127.0.0.1; }",
            "upstream u { random two least_time=header; server 127.0.0.1; keepalive 0; }",
            "upstream u { zone z 64k; server 127.0.0.1; } upstream v { server 127.0.0.1; zone z; }",
            "upstream u { zone z 64k; resolver 127.0.0.1; server a.example:81 resolve; }",
            "resolver 127.0.0.1; upstream u { zone z 64k; server a.example service=http resolve; }",
            "upstream u { server 127.0.0.1; queue 10 timeout=1s; }",
            "upstream u { least_time last_byte inflight; server 127.0.0.1; keepalive_time 1m; }",
        ] {
            assert_eq!(load(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        for (block, sentence) in [
            ("", "no servers are inside upstream"),
            ("server 127.0.0.1 backup;", "no servers in upstream \"u\""),
            ("server no..name;", "host not found in upstream \"no..name\""),
            ("server a:0;", "invalid port in upstream \"a:0\""),
            ("server a/b;", "invalid host in upstream \"a/b\""),
            ("server 127.0.0.1 weight=0;", "invalid parameter \"weight=0\""),
            ("server 127.0.0.1 max_conns=-1;", "invalid parameter \"max_conns=-1\""),
            ("server 127.0.0.1 max_fails=x;", "invalid parameter \"max_fails=x\""),
            ("server 127.0.0.1 fail_timeout=x;", "invalid parameter \"fail_timeout=x\""),
            ("server 127.0.0.1 nonsense;", "invalid parameter \"nonsense\""),
            ("server 127.0.0.1 route=;", "route is empty"),
            (
                "server 127.0.0.1 route=123456789012345678901234567890123;",
                "route is longer than 32",
            ),
            (
                "ip_hash; server 127.0.0.1 backup;",
                "balancing method does not support parameter \"backup\"",
            ),
            ("ip_hash; least_conn; server 127.0.0.1;", "load balancing method redefined"),
            (
                "server a.example resolve;",
                "resolving names at run time requires upstream \"u\" to be in shared memory",
            ),
            (
                "zone z 64k; server a.example resolve;",
                "no resolver defined to resolve names at run time in upstream \"u\"",
            ),
            (
                "server a.example service=http;",
                "service upstream \"a.example\" requires \"resolve\" parameter",
            ),
            (
                "server a.example:80 service=http resolve;",
                "service upstream \"a.example:80\" may not have port",
            ),
            (
                "server 127.0.0.1 service=http resolve;",
                "service upstream \"127.0.0.1\" requires domain name",
            ),
            ("server a.example service= resolve;", "service is empty"),
            ("zone \"\" 64k; server 127.0.0.1;", "invalid zone name \"\""),
            ("zone z 4k; server 127.0.0.1;", "zone \"z\" is too small"),
            ("zone z x; server 127.0.0.1;", "invalid zone size \"x\""),
            (
                "server 127.0.0.1; state a.conf;",
                "\"state\" directive cannot be used along with \"server\"",
            ),
            (
                "state a.conf; server 127.0.0.1;",
                "\"server\" directive cannot be used along with \"state\"",
            ),
            ("state a.conf; state a.conf;", "\"state\" directive is duplicate"),
            ("queue 0; server 127.0.0.1;", "invalid value \"0\" in \"queue\" directive"),
            ("queue 1 x; server 127.0.0.1;", "invalid parameter \"x\""),
            ("queue 1; queue 1; server 127.0.0.1;", "\"queue\" directive is duplicate"),
            ("hash a b; server 127.0.0.1;", "invalid parameter \"b\""),
            ("random one; server 127.0.0.1;", "invalid parameter \"one\""),
            ("least_time header x; server 127.0.0.1;", "invalid parameter \"x\""),
            ("least_time x; server 127.0.0.1;", "invalid value \"x\""),
            ("keepalive x; server 127.0.0.1;", "invalid value \"x\" in \"keepalive\" directive"),
            ("keepalive 1 x; server 127.0.0.1;", "invalid parameter \"x\""),
            ("keepalive 1; keepalive 1; server 127.0.0.1;", "\"keepalive\" directive is duplicate"),
            (
                "keepalive_requests x; server 127.0.0.1;",
                "\"keepalive_requests\" directive invalid number",
            ),
        ] {
            let messages = load(&format!("upstream u {{ {block} }}"));
            assert!(messages.iter().any(|message| message == sentence), "{block}: {messages:?}");
        }
        let twice = "upstream u { server 127.0.0.1; } upstream U { server 127.0.0.1; }";
        assert_eq!(load(twice), ["duplicate upstream \"U\""]);
        let sizes = "upstream u { server 127.0.0.1; zone z 64k; } upstream v { server 127.0.0.1; zone z 1m; }";
        let sentence = "the size 1048576 of shared memory zone \"z\" conflicts with already declared size 65536";
        assert_eq!(load(sizes), [sentence]);
        let uses = "upstream u { server 127.0.0.1; zone z 64k; sticky learn create=$a lookup=$a zone=z:64k; }";
        let sentence = "the shared memory zone \"z\" is already declared for a different use";
        assert_eq!(load(uses), [sentence]);
    }
}
