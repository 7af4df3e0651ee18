//! The service manager, as systemd is one: the sockets that it passes (`sd_listen_fds(3)`), and what
//! it is told (`sd_notify(3)`). The protocols are environment variables and datagrams, so no library
//! is needed.

use std::fmt::Write;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use log::warn;
use nix::time::{ClockId, clock_gettime};

/// The number of the first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: RawFd = 3;
/// The most descriptors that are taken. A service has a few.
const DESCRIPTORS_MAX: RawFd = 1024;

/// A descriptor that the service manager has passed, with the name that the unit gives it.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) descriptor: OwnedFd,
}

/// Returns the descriptors that the service manager has passed to this process. A second call returns
/// none.
///
/// # Errors
/// When the variables contradict what the process has.
pub(crate) fn descriptors() -> io::Result<Vec<Named>> {
    let variable = |name| std::env::var(name).ok();
    // A program in between may have left the variables to a child that they are not meant for.
    if variable("LISTEN_PID").as_deref() != Some(&std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let Some(count) = variable("LISTEN_FDS") else { return Ok(Vec::new()) };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let numbers = numbers(&count)?;
    let mut names = names.split(':').map(str::to_owned);
    numbers
        .map(|number| {
            let descriptor = reactor::inherited_descriptor(number).map_err(|error| {
                let text = format!("LISTEN_FDS is {count}, but {error}");
                io::Error::new(error.kind(), text)
            })?;
            let name = names.next().unwrap_or_default();
            Ok(Named { name, descriptor })
        })
        .collect()
}

/// Returns the numbers of the descriptors, from their count.
fn numbers(count: &str) -> io::Result<std::ops::Range<RawFd>> {
    match count.parse() {
        Ok(count @ 0..=DESCRIPTORS_MAX) => Ok(FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count),
        _ => {
            let text = format!("LISTEN_FDS is {count:?}, not a number from 0 to {DESCRIPTORS_MAX}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// Tells the service manager the state of this service. Without a service manager, it does nothing.
#[derive(Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Finds the service manager by the variables of the environment.
    pub(crate) fn find() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let socket = connect(name.as_bytes()).inspect_err(|error| {
            warn!("the service manager at {} is not told anything: {error}", name.display());
        });
        Self { socket: socket.ok(), watchdog: watchdog() }
    }

    /// Returns how often the service manager expects a sign of life: half of the time after which it
    /// takes the service for dead.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some())
    }

    /// Says that the service is ready, and which process is its main one: a new program that has
    /// taken over is a child of the old one at first.
    pub(crate) fn ready(&self) {
        self.tell(&format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id()));
    }

    /// Says that the service stops, and what it waits for.
    pub(crate) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// Says that the service reads its configuration again. [`ready`](Self::ready) follows.
    pub(crate) fn reloading(&self) {
        let mut text = String::from("RELOADING=1");
        // Type=notify-reload compares it with when it has asked.
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            let microseconds = Duration::from(now).as_micros();
            let _ = write!(text, "\nMONOTONIC_USEC={microseconds}");
        }
        self.tell(&text);
    }

    /// Gives a sign of life.
    pub(crate) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Sends a message without waiting: a service manager that does not read must not stop the loop.
    fn tell(&self, message: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(message.as_bytes())
        {
            warn!("the service manager was not told {message:?}: {error}");
        }
    }
}

/// Connects to the socket with this name: a path, or an abstract name after `@`.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        _ => {
            let text = "NOTIFY_SOCKET is neither a path nor an abstract name with @";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns half of the time of the watchdog, if it is meant for this process.
fn watchdog() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    let for_another =
        variable("WATCHDOG_PID").is_some_and(|it| it != std::process::id().to_string());
    let microseconds: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (!for_another && microseconds > 1).then(|| Duration::from_micros(microseconds / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a message came");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn messages_go_to_paths_and_abstract_names() {
        let name = format!("@myevent-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name[1..]).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("it binds");
        let socket = Some(connect(name.as_bytes()).expect("it connects"));
        let told = ServiceManager { socket, watchdog: Some(Duration::from_secs(1)) };
        told.ready();
        let expected = format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id());
        assert_eq!(received(&manager), expected);
        told.reloading();
        assert!(received(&manager).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        told.stopping("draining");
        assert_eq!(received(&manager), "STOPPING=1\nSTATUS=draining");
        told.alive();
        assert_eq!(received(&manager), "WATCHDOG=1");
        assert_eq!(told.watchdog(), Some(Duration::from_secs(1)));
        // A manager that is gone, or does not read, costs a log line.
        drop(manager);
        told.alive();
    }

    #[test]
    fn a_name_of_another_kind_is_refused() {
        assert!(connect(b"vsock:2:9").is_err() && connect(b"").is_err());
        let nothing = ServiceManager::default();
        nothing.ready();
        assert_eq!(nothing.watchdog(), None);
    }

    #[test]
    fn counts_of_descriptors_are_checked() {
        assert_eq!(numbers("2").expect("a count"), 3..5);
        assert_eq!(numbers("0").expect("a count"), 3..3);
        for wrong in ["", "-1", "1025", "x", "99999999999"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
