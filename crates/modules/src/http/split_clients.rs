//! `split_clients`: a variable that has each of its values for a share of all clients.
//!
//! ```nginx
//! split_clients "$remote_addr$http_user_agent" $variant {
//!     0.5%  .one;
//!     20%   .two;
//!     *     "";
//! }
//! ```

use daemun_core::directives;
use daemun_core::module::Module;
use daemun_http::module::HttpModule;

use crate::shared::split_clients;

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_split_clients_module",
        settings: None,
        directives: directives! {
            "split_clients" in HTTP, Block(2, 2), "", Action::Set(split_clients::load),
                "Defines a variable that has each of its values for a share of all clients.";
        },
    },
    ..HttpModule::EMPTY
};
