//! The client of HTTP and the tool `fetch`, against a server of the tests, nginx and others.

mod failures;
mod files;
mod library;
mod nginx;
mod peer;
mod proxies;
mod requests;
mod tool;
