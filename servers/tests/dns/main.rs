//! The DNS forwarder, with upstreams of our own: honest and hostile ones.

mod asking;
mod cache;
#[path = "../common/mod.rs"]
mod common;
mod cookies;
mod dnsmasq;
mod forwarding;
mod handover;
mod hostile;
mod interfaces;
mod odd;
mod own;
mod peers;
mod streams;
mod upstream;

const DNS: &str = env!("CARGO_BIN_EXE_dns");
