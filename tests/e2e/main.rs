//! End-to-end tests: a configuration as a user would write it, the requests, the expectations.

mod access;
mod bodies;
mod configuration;
mod connections;
mod errors;
mod headers;
mod limits;
mod listings;
mod locations;
mod logs;
mod maps;
mod models;
mod notices;
mod parity;
mod processes;
mod ranges;
mod redirects;
mod requests;
mod rewriting;
mod sending;
mod servers;
mod slow_files;
mod static_files;
mod status;
mod thread_pools;
