//! `geo`: a variable whose value depends on an address.
//!
//! ```nginx
//! geo $where {
//!     default      elsewhere;
//!     proxy        192.0.2.1;
//!     10.0.0.0/8   inside;
//!     10.9.0.0/16  lab;
//!     delete       10.9.0.0/16;
//!     2001:db8::/32 inside;
//! }
//! geo $arg_address $part {
//!     ranges;
//!     10.0.0.0-10.0.0.255 first;
//! }
//! ```

use daemun_core::directives;
use daemun_core::module::Module;
use daemun_http::module::HttpModule;

use crate::shared::geo;

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_geo_module",
        settings: None,
        directives: directives! {
            "geo" in HTTP, Block(1, 2), "", Action::Set(geo::load),
                "Defines a variable whose value depends on the client's, or another, address.";
        },
    },
    ..HttpModule::EMPTY
};
