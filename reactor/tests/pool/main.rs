//! Work on the threads of a pool: with a loop, without one, and on simulated hosts.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // The server is another one here.
#[path = "../sim/echo.rs"]
mod echo;
mod gate;
mod offload;
mod simulated;
mod threads;
