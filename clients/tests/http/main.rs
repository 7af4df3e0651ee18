//! The client of HTTP and the tools `fetch` and `ws`, against servers of the tests, nginx and others.

#[path = "../common/mod.rs"]
mod common;

mod failures;
mod files;
mod library;
mod nginx;
mod parts;
mod peer;
mod proxies;
mod requests;
mod socket;
mod tool;
mod ws;
