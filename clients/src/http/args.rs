//! The arguments of a tool for its connections.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reactor::Address;

use super::{Options, Proxies, split};
use crate::tls::TlsArgs;

/// The arguments of a tool for its connections to servers of URLs.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// Time until a connection is established, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
    /// Proxy for everything: http://HOST:PORT or socks5://HOST:PORT; empty for none
    #[arg(short = 'x', long, value_name = "PROXY")]
    proxy: Option<String>,
    /// Hosts that are reached without a proxy, separated by commas
    #[arg(long, value_name = "HOSTS")]
    noproxy: Option<String>,
    /// Address to use for a host and a port, in place of what the name resolves to
    #[arg(long, value_name = "HOST:PORT:ADDRESS")]
    resolve: Vec<String>,
    /// The arguments of TLS.
    #[command(flatten)]
    tls: TlsArgs,
}

impl ConnectArgs {
    /// Sets these arguments in the options of a client. `tool` is the name of the program, for its
    /// warnings, and `variable` reads a variable of the environment.
    ///
    /// # Errors
    /// Says which argument, or which variable, cannot be used.
    pub(crate) fn apply(
        &self,
        tool: &str,
        variable: impl Fn(&str) -> Option<String>,
        options: &mut Options,
    ) -> Result<(), String> {
        options.connect.timeout = self.connect_timeout;
        options.connect.attempt_timeout = self.connect_timeout;
        let proxies = match self.proxy.as_deref() {
            None => Proxies::from_environment(variable),
            Some("") => Ok(Proxies::default()),
            Some(proxy) => proxy.parse().map(Proxies::all),
        };
        options.proxies = proxies.map_err(|error| error.to_string())?;
        if let Some(hosts) = &self.noproxy {
            options.proxies.except = split(hosts);
        }
        options.addresses = self.resolve.iter().map(|it| resolve(it)).collect::<Result<_, _>>()?;
        self.tls.check(tool).map_err(|failure| failure.to_string())?;
        let tls = self.tls.clone();
        options.tls = Some(Arc::new(move || tls.client().map_err(|error| error.to_string())));
        Ok(())
    }
}

/// Parses an argument of `--resolve`.
fn resolve(text: &str) -> Result<(String, u16, Address), String> {
    let parsed = || {
        let (host, rest) = text.split_once(':')?;
        let (port, address) = rest.split_once(':')?;
        let port: u16 = port.parse().ok()?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let ip: IpAddr = address.parse().ok()?;
        Some((host.to_owned(), port, Address::Tcp((ip, port).into())))
    };
    let advice = "give HOST:PORT:ADDRESS, such as one.example:443:127.0.0.1";
    parsed().ok_or_else(|| format!("{text:?}: {advice}"))
}

/// Parses a field of a request that a user gives: its name, and its value without spaces around it.
pub(crate) fn field(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("{line:?} is no field: give \"Name: value\""))?;
    Ok((name, value.trim()))
}

/// Parses a number of seconds above zero.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|it| *it > 0.0);
    number
        .and_then(|it| Duration::try_from_secs_f64(it).ok())
        .ok_or_else(|| "give a number of seconds above zero, such as 2.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_seconds_are_parsed() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "-1", "x", "", "NaN", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
