//! nginx's `ngx_http_core_module`, one idea a file.

pub mod aio;
pub mod client;
pub mod connection;
pub mod early_hints;
pub mod encoding;
pub mod error_page;
pub mod files;
pub mod http2;
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

use std::sync::Arc;

use daemun_core::module::SettingsSet;

use crate::module::HttpModule;

/// The settings that every request asks for, found once for each location.
pub struct Core {
    pub routing: Arc<routing::Settings>,
    pub client: Arc<client::Settings>,
    pub connection: Arc<connection::Settings>,
    pub sending: Arc<sending::Settings>,
    pub error_page: Arc<error_page::Settings>,
    pub post_action: Arc<post_action::Settings>,
    pub redirects: Arc<redirects::Settings>,
}

impl Core {
    pub(crate) fn of(settings: &SettingsSet) -> Core {
        Core {
            routing: settings.share(&routing::SETTINGS),
            client: settings.share(&client::SETTINGS),
            connection: settings.share(&connection::SETTINGS),
            sending: settings.share(&sending::SETTINGS),
            error_page: settings.share(&error_page::SETTINGS),
            post_action: settings.share(&post_action::SETTINGS),
            redirects: settings.share(&redirects::SETTINGS),
        }
    }
}

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
