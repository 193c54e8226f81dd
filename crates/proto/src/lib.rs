//! Protocols as pure machines: bytes and offsets in, verdicts out. Nothing here does I/O or knows a clock.

pub mod decimal;
pub mod dns;
pub mod fastcgi;
#[doc(hidden)]
pub mod fuzz;
pub mod http1;
pub mod http2;
pub mod memcached;
pub mod proxy_protocol;
pub mod scgi;
pub mod tls;
pub mod uwsgi;
