//! End-to-end tests: a configuration as a user would write it, the requests, the expectations.

mod locations;
mod processes;
mod static_files;
