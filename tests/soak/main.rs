//! Nothing gets lost: load that goes on through reloads, upgrades and dying workers.
//!
//! Each test comes twice: a short one with every run of the tests, and one called `soak_` that
//! takes minutes.

mod bodies;
mod daemon;
mod deaths;
mod echoes;
mod failover;
mod large_bodies;
mod leaving;
mod names;
mod nginx;
mod relays;
mod reloads;
mod switching;
mod tls;
mod upgrades;
