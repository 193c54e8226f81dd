//! nginx's `ngx_http_core_module`, one idea a file.

pub mod aio;
pub mod client;
pub mod connection;
pub mod early_hints;
pub mod encoding;
pub mod error_page;
pub mod files;
pub mod limit_except;
pub mod listen;
pub mod mime;
pub mod post_action;
pub mod redirects;
pub mod resolving;
pub mod rewriting;
pub mod routing;
pub mod sending;
pub mod server_name;
pub mod subrequests;
pub mod tracking;
pub mod upstreams;

use crate::module::HttpModule;

/// The parts, in the order of nginx's documentation.
pub const PARTS: &[&HttpModule] = &[
    &routing::MODULE,
    &listen::MODULE,
    &server_name::MODULE,
    &client::MODULE,
    &connection::MODULE,
    &sending::MODULE,
    &encoding::MODULE,
    &files::MODULE,
    &mime::MODULE,
    &error_page::MODULE,
    &post_action::MODULE,
    &redirects::MODULE,
    &rewriting::MODULE,
    &resolving::MODULE,
    &subrequests::MODULE,
    &limit_except::MODULE,
    &tracking::MODULE,
    &early_hints::MODULE,
    &crate::upstream::variables::MODULE,
    &upstreams::MODULE,
];
