//! Forwarders of the Domain Name System: ours, dnsmasq and unbound, with their default caches.
//!
//! Each forwards to a port of this host, and listens on one that is free ([`testkit::free_port`]): dnsmasq
//! and unbound cannot say which port they have.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{announce, server};
use crate::process::this_program;

/// The name of this program when it runs as `dns`.
pub const DNS: &str = "dns";

/// Returns the reason if dnsmasq cannot be run.
pub fn no_dnsmasq() -> Option<String> {
    let error = dnsmasq_version().err()?;
    Some(format!("dnsmasq does not run: {error} (apt-get install dnsmasq-base)"))
}

/// Returns the reason if unbound cannot be run.
pub fn no_unbound() -> Option<String> {
    let error = unbound_version().err()?;
    Some(format!("unbound does not run: {error} (apt-get install unbound)"))
}

/// Returns the version of dnsmasq.
///
/// # Errors
/// Fails if it cannot be run.
pub fn dnsmasq_version() -> io::Result<String> {
    first_line(Command::new("dnsmasq").arg("--version"))
}

/// Returns the version of unbound.
///
/// # Errors
/// Fails if it cannot be run.
pub fn unbound_version() -> io::Result<String> {
    first_line(Command::new("unbound").arg("-V"))
}

fn first_line(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Returns an address that is free, and prints it.
fn free() -> io::Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, testkit::free_port()));
    announce(&address.to_string())?;
    Ok(address)
}

/// Replaces this process by our server, which is this program under another name and forwards to a port.
///
/// # Errors
/// Fails if this program cannot be started again. Does not return otherwise.
pub fn ours(upstream: usize) -> io::Result<()> {
    let (upstream, own) = (server(upstream)?, free()?);
    let mut command = Command::new(this_program()?);
    command.arg0(DNS).env("RUST_LOG", "warn");
    command.args(["--listen", &format!("udp://{own}"), "--upstream", &upstream.to_string()]);
    Err(command.exec())
}

/// Replaces this process by dnsmasq. Its cache has room for the names of the load, of which there is by
/// default none.
///
/// # Errors
/// Fails if it cannot be started. Does not return otherwise.
pub fn dnsmasq(upstream: usize) -> io::Result<()> {
    let (upstream, own) = (server(upstream)?, free()?);
    let mut command = Command::new("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file="]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--cache-size=10000"]);
    command.args([
        format!("--server={}#{}", upstream.ip(), upstream.port()),
        format!("--port={}", own.port()),
        format!("--listen-address={}", own.ip()),
    ]);
    if rustix::process::geteuid().is_root() {
        // Otherwise it changes to a user that the system may not have.
        command.arg("--user=root");
    }
    Err(command.exec())
}

/// Replaces this process by unbound: one thread, which validates nothing, as the others. Its
/// configuration is written to the current folder.
///
/// # Errors
/// Fails if it cannot be started. Does not return otherwise.
pub fn unbound(upstream: usize) -> io::Result<()> {
    let (upstream, own) = (server(upstream)?, free()?);
    fs::write("unbound.conf", configuration(own, upstream))?;
    let mut command = Command::new("unbound");
    Err(command.args(["-d", "-c", "unbound.conf"]).exec())
}

fn configuration(own: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "server:\nchroot: \"\"\nusername: \"\"\npidfile: \"\"\nuse-syslog: no\nlogfile: \"\"\nverbosity: 0\n\
         interface: {}@{}\nnum-threads: 1\nmodule-config: \"iterator\"\n\
         do-not-query-localhost: no\nlocal-zone: \"test.\" nodefault\n\
         forward-zone:\nname: \".\"\nforward-addr: {}@{}\n\
         remote-control:\ncontrol-enable: no\n",
        own.ip(),
        own.port(),
        upstream.ip(),
        upstream.port()
    )
}
