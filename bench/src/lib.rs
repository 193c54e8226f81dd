//! Measurements that say what a design decision costs.
