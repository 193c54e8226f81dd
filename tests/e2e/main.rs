//! End-to-end tests: a configuration as a user would write it, the requests, the expectations.

mod access;
mod auth;
mod bodies;
mod configuration;
mod connections;
mod errors;
mod geo;
mod headers;
mod limits;
mod listings;
mod locations;
mod logs;
mod maps;
mod notices;
mod parity;
mod processes;
mod proxy_protocol;
mod ranges;
mod real_ip;
mod redirects;
mod requests;
mod rewriting;
mod sending;
mod servers;
mod static_files;
mod visitors;
