//! Work on the threads of a pool: with a loop, without one, and on simulated hosts.

#[path = "../common/mod.rs"]
mod common;
mod gate;
mod offload;
mod simulated;
mod threads;
