//! HTTP/1.1: servers, clients and their parts, in memory.

#![cfg(feature = "http")]

#[path = "../common/mod.rs"]
mod common;
mod client;
mod recorder;
mod server;
