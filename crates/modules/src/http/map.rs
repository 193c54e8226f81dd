//! `map`: a variable whose value depends on another value.
//!
//! ```nginx
//! map $http_host $site {
//!     hostnames;
//!     default       none;
//!     example.com   main;
//!     *.example.com "below $server_name";
//!     ~^(?<user>[a-z]+)\.example\.org$ $user;
//! }
//! ```

use daemun_core::directives;
use daemun_core::module::Module;
use daemun_http::module::HttpModule;

use crate::shared::{GROWS, map};

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_map_module",
        settings: None,
        directives: directives! {
            "map" in HTTP, Block(2, 2), "", Action::Set(map::load),
                "Defines a variable whose value depends on another value.";
            "map_hash_max_size" in HTTP, Exactly(1), "2048", GROWS,
                "Accepted: the tables grow by themselves.";
            "map_hash_bucket_size" in HTTP, Exactly(1), "64", GROWS,
                "Accepted: the tables grow by themselves.";
        },
    },
    ..HttpModule::EMPTY
};
