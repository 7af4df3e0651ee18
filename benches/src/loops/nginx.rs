//! nginx, with one process and the features that `web` has as well.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::announce;
use crate::files::{CERTIFICATE, KEY};
use crate::net::BACKLOG;

/// Returns the reason if it cannot be run.
pub fn absent() -> Option<String> {
    let error = version().err()?;
    Some(format!("nginx does not run: {error} (apt-get install nginx-light)"))
}

/// Returns its version.
///
/// # Errors
/// Fails if it cannot be run.
pub fn version() -> io::Result<String> {
    let output = Command::new("nginx").arg("-v").stdin(Stdio::null()).output()?;
    // It prints this as an error.
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Replaces this process by nginx, which serves the files of the current folder. It listens on a port
/// that is free ([`testkit::free_port`]): nginx cannot say which port it has.
///
/// # Errors
/// Fails if nginx cannot be started. Does not return otherwise.
pub fn files(is_tls: bool) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, testkit::free_port()));
    fs::write("nginx.conf", configuration(address, is_tls))?;
    announce(&address.to_string())?;
    let mut command = Command::new("nginx");
    Err(command.args(["-p", ".", "-c", "nginx.conf", "-e", "stderr"]).exec())
}

/// Returns a configuration: a single process, no log of requests, and otherwise what Debian's has
/// for files. Connections live as long as the client wants, and open files are cached.
fn configuration(address: SocketAddr, is_tls: bool) -> String {
    let (ssl, certificate) = match is_tls {
        false => ("", String::new()),
        true => (
            " ssl",
            format!(
                "ssl_certificate {CERTIFICATE};\nssl_certificate_key {KEY};\n\
                 ssl_protocols TLSv1.3;\nssl_session_tickets on;\n"
            ),
        ),
    };
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|it| format!("{it}_temp_path {it};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\n\
         events {{ use epoll; worker_connections 16384; multi_accept on; }}\n\
         http {{\naccess_log off;\nsendfile on;\ntcp_nopush on;\ntcp_nodelay on;\n\
         keepalive_timeout 600s;\nkeepalive_requests 1000000000;\n\
         open_file_cache max=100 inactive=600s;\nopen_file_cache_valid 60s;\n\
         types {{ text/plain txt; }}\n{folders}\
         server {{\nlisten {address} backlog={BACKLOG}{ssl};\nroot .;\n{certificate}}}\n}}\n"
    )
}
