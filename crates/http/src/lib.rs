//! The HTTP engine: configuration, requests through their phases, responses through their filters, and the
//! connections that carry both. Modules that add to it live in `daemun-modules`.

pub mod body;
pub mod client;
pub mod config;
pub mod core;
pub mod credentials;
pub mod date;
pub mod escape;
mod exchange;
pub mod file_cache;
mod file_reader;
pub mod files;
pub mod h1;
pub mod h2;
pub mod head;
pub mod locations;
pub mod module;
pub mod moving;
pub mod one_line;
pub mod phases;
mod prefix_tree;
pub mod request;
pub mod request_body;
pub mod response;
pub mod server_names;
pub mod source;
pub mod special_response;
pub mod status;
pub mod subrequest;
pub mod tls;
pub mod trace;
pub mod type_set;
pub mod upstream;
pub mod uri;
mod user_agent;
pub mod variables;
mod whereabouts;
