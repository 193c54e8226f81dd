//! The HTTP modules, in the order in which they act.

mod not_modified;
mod range;
mod static_files;

use daemun_http::module::HttpModule;

/// Content handlers and filters act in this order.
pub static MODULES: &[&HttpModule] = &[
    // Last of the content handlers: it takes whatever is left.
    &static_files::MODULE,
    // Conditions before ranges: a body that is not sent is not cut.
    &not_modified::MODULE,
    &range::MODULE,
];
