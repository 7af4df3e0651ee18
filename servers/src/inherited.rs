//! Sockets that this process did not bind: those of the service manager, and those of a program that
//! it replaces.

use std::fmt;
use std::io;

use log::{info, warn};
use reactor::{Accept, Address, FileIdentity, GroupListener};

use crate::bound::Bound;
use crate::handover::{Given, Traits};
use crate::listen::{Kind, Sharing, Socket};
use crate::service_manager;

/// The name of a socket of the service manager whose connections are encrypted
/// (`FileDescriptorName=`, `systemd.socket(5)`).
const ENCRYPTED: &str = "tls";

/// Sockets that this process did not bind.
#[derive(Default)]
pub(crate) struct Inherited {
    sockets: Vec<One>,
}

/// A socket that this process did not bind.
struct One {
    socket: Bound,
    is_encrypted: bool,
    giver: Giver,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Giver {
    /// Possibly by way of the old program.
    ServiceManager,
    OldProgram,
}

impl Inherited {
    /// Takes the sockets of the service manager, and `given`, those of the program that this one
    /// replaces. The files of the latter are claimed.
    ///
    /// # Errors
    /// When a descriptor is not a socket that can be served.
    pub(crate) fn take(given: Vec<Given>) -> io::Result<(Self, Claims)> {
        let (mut sockets, mut claims) = (Vec::new(), Claims::default());
        for service_manager::Named { name, descriptor } in service_manager::descriptors()? {
            let socket = Bound::new(descriptor).map_err(|error| {
                let text = format!("the service manager's socket {name:?}: {error}");
                io::Error::new(error.kind(), text)
            })?;
            let (is_encrypted, giver) = (name == ENCRYPTED, Giver::ServiceManager);
            sockets.push(One { socket, is_encrypted, giver });
        }
        for Given { traits, descriptor } in given {
            let Traits { is_encrypted, file, is_passed } = traits;
            let giver = if is_passed { Giver::ServiceManager } else { Giver::OldProgram };
            let mut socket = Bound::new(descriptor)?;
            if let Some(file) = file {
                claims.add(&mut socket, file)?;
            }
            sockets.push(One { socket, is_encrypted, giver });
        }
        Ok((Self { sockets }, claims))
    }

    /// Returns whether the service manager has passed sockets: then the default address is not
    /// listened on.
    pub(crate) fn replaces_default(&self) -> bool {
        self.sockets.iter().any(|one| one.giver == Giver::ServiceManager)
    }

    /// Returns the name of a socket whose connections are encrypted, if there is one.
    pub(crate) fn encrypted(&self) -> Option<impl fmt::Display> {
        let one = self.sockets.iter().find(|one| one.is_encrypted)?;
        Some(format!("tls://{}", one.socket.address()))
    }

    /// Takes the sockets that are bound to `address`. There may be none.
    pub(crate) fn bound_to(
        &mut self,
        address: &Address,
        is_encrypted: bool,
        sharing: Sharing,
    ) -> Vec<Socket> {
        let of_kind = |one: &&One| one.is_encrypted == is_encrypted;
        let exact = |one: &&One| address == one.socket.address();
        // The kernel chose the port if the argument names the port 0: then it is the next of them.
        let chosen = |one: &&One| is_chosen(address, one.socket.address());
        let mut candidates = self.sockets.iter().filter(of_kind);
        let first = candidates.clone().find(exact).or_else(|| candidates.find(chosen));
        let Some(first) = first else { return Vec::new() };
        let bound = first.socket.address().clone();
        let is_same =
            |one: &mut One| one.is_encrypted == is_encrypted && *one.socket.address() == bound;
        let found: Vec<One> = self.sockets.extract_if(.., is_same).collect();
        share(found, is_encrypted, false, sharing)
    }

    /// Returns the sockets that no argument names: those of the service manager are served too.
    ///
    /// # Errors
    /// When there is one of datagrams, and this server takes none.
    pub(crate) fn others(self, takes_datagrams: bool, sharing: Sharing) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        for one in self.sockets {
            match (&one.socket, one.giver) {
                (_, Giver::OldProgram) => {
                    warn!(
                        "{} is no longer listened on: no argument names it",
                        one.socket.address()
                    );
                }
                (Bound::Datagrams(socket), _) if !takes_datagrams => {
                    let text = format!(
                        "the service manager passes {}, and this server takes no datagrams",
                        socket.address()
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
                _ => {
                    let is_encrypted = one.is_encrypted;
                    sockets.extend(share(vec![one], is_encrypted, true, sharing));
                }
            }
        }
        Ok(sockets)
    }
}

/// Handles of sockets whose files are the old program's until that has said otherwise.
#[derive(Default)]
pub(crate) struct Claims(Vec<Bound>);

impl Claims {
    /// Takes over the file of `socket`, as soon as the old program has left it. A file that is gone
    /// stays gone.
    fn add(&mut self, socket: &mut Bound, file: FileIdentity) -> io::Result<()> {
        if let Err(error) = socket.own_file(file) {
            warn!("clients no longer find {}: its file is gone: {error}", socket.address());
            return Ok(());
        }
        socket.leave_file(true);
        self.0.push(socket.try_clone()?);
        Ok(())
    }

    /// Records that the files are this program's.
    pub(crate) fn settle(self) {
        self.0.iter().for_each(|socket| socket.leave_file(false));
    }
}

/// Returns whether an argument names the port 0, and a socket at `bound` may be the one that it got.
fn is_chosen(wanted: &Address, bound: &Address) -> bool {
    match (wanted, bound) {
        (Address::Tcp(wanted), Address::Tcp(bound))
        | (Address::Udp(wanted), Address::Udp(bound)) => {
            wanted.port() == 0 && wanted.ip() == bound.ip()
        }
        _ => false,
    }
}

/// Divides the sockets at one address among the loops. None is closed: connections may wait there.
fn share(found: Vec<One>, is_encrypted: bool, is_passed: bool, sharing: Sharing) -> Vec<Socket> {
    let (mut listeners, mut datagrams) = (Vec::new(), Vec::new());
    for one in found {
        match one.socket {
            Bound::Streams(listener) => listeners.push(listener),
            Bound::Datagrams(socket) => datagrams.push(socket),
        }
    }
    let mut sockets = Vec::new();
    if let Some(address) = datagrams.first().map(|socket| socket.address().clone()) {
        sockets.push(Socket { address, kind: Kind::Datagrams(datagrams), is_passed });
    }
    let Some(address) = listeners.first().map(|listener| listener.address().clone()) else {
        return sockets;
    };
    let mut add = |accept, listeners| {
        let listener = GroupListener::from_listeners(accept, listeners);
        let kind = Kind::Streams { listener, is_encrypted };
        sockets.push(Socket { address: address.clone(), kind, is_passed });
    };
    let threads = sharing.threads.get();
    let accept = match sharing.accept {
        Accept::ReusePort if listeners.len() >= threads => {
            let others = listeners.split_off(threads);
            add(Accept::ReusePort, std::mem::replace(&mut listeners, others));
            // The kernel gives the others an equal part of the connections.
            Accept::Shared
        }
        Accept::ReusePort => {
            let accept = Accept::default();
            if threads > 1 {
                let count = listeners.len();
                info!("{address}: there are {count} sockets: connections are {accept}");
            }
            accept
        }
        accept => accept,
    };
    listeners.into_iter().for_each(|listener| add(accept, vec![listener]));
    sockets
}
