//! The harness of the end-to-end tests: a real server in a folder of its own, and clients that speak bytes.
//!
//! ```no_run
//! use daemun_tests::Server;
//!
//! let server = Server::http("server { listen 127.0.0.1:{port}; return 200 hello; }");
//! assert_eq!(server.get("/").text(), "hello");
//! ```
//!
//! When a `Server` goes out of scope it is stopped, and the test fails where it did not end well or its error
//! log tells of an `[alert]`, an `[emerg]` or a panic that the test did not expect.

mod answer;
mod authority;
mod backend;
mod binary;
mod client;
mod command;
mod dice;
mod engine;
mod folder;
mod http2_client;
mod http2_server;
mod load;
mod memory;
mod places;
mod ports;
mod recorder;
mod server;
mod tls_client;
mod tls_server;
mod wait;

pub use answer::Answer;
pub use authority::{Authority, Identity, named as params_of};
pub use backend::Backend;
pub use binary::{binary, named};
pub use client::{Client, read_once};
pub use command::Output;
pub use daemun_proto::http2;
pub use daemun_sys::signals;
pub use dice::Dice;
pub use engine::{ENGINES, Engine, MARKED};
pub use folder::Folder;
pub use http2_client::{Http2Client, RawHttp2, Reply};
pub use http2_server::{Asked, Http2Backend, Http2Peer};
pub use load::{Kind, Load, Loss, Tally};
pub use memory::{memory, memory_of_all, most_allocated};
pub use ports::{free_port, listener};
pub use recorder::{Recorded, Recorder, Seen, ok};
pub use server::{Server, Setup};
pub use tls_client::{Offer, Staples, TlsClient, VERSIONS, Version, client_config};
pub use tls_server::TlsServer;
pub use wait::{children, eventually, is_running, title};

use std::time::Duration;

/// Nothing that a test waits for takes so long on any machine, unless it never happens; and what
/// the server itself gives up after a minute has not happened by then.
pub const PATIENCE: Duration = Duration::from_secs(50);
