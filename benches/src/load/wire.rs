//! A connection of the client, plain or over TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;

use super::PATIENCE;
use crate::net;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// Converts the error of an operation that would block to `None`.
fn would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns one side of TLS.
///
/// # Errors
/// Fails if the parameters cannot be used.
pub(super) fn client(config: &Arc<ClientConfig>) -> io::Result<ClientConnection> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    // A message is accepted whole, so a short write means that the socket is full.
    tls.set_buffer_limit(None);
    Ok(tls)
}

impl Wire {
    /// Connects, with a handshake if there is a configuration of TLS. Operations block at first.
    ///
    /// # Errors
    /// Fails if the connection or the handshake fails.
    pub(super) fn connect(
        server: SocketAddr,
        config: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let tls = match config {
            None => None,
            Some(config) => {
                let mut tls = client(config)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(Box::new(tls))
            }
        };
        Ok(Self { socket, tls })
    }

    /// Makes its operations return at once.
    pub(super) fn stop_blocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Returns whether a read that does not fill its buffer has emptied the socket.
    pub(super) const fn short_read_exhausts(&self) -> bool {
        self.tls.is_none()
    }

    /// Writes. Returns `None` if the socket is full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return net::write(&self.socket, bytes) };
        if !pass_on(tls, &mut self.socket)? {
            return Ok(None);
        }
        let count = tls.writer().write(bytes)?;
        pass_on(tls, &mut self.socket)?;
        Ok(Some(count))
    }

    /// Passes encrypted bytes on that a full socket has not taken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            pass_on(tls, &mut self.socket)?;
        }
        Ok(())
    }

    /// Reads. Returns `None` if there is no input, and 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return net::read(&self.socket, buffer) };
        loop {
            if let Some(count) = would_block(tls.reader().read(buffer))? {
                return Ok(Some(count));
            }
            if would_block(tls.read_tls(&mut self.socket))?.is_none() {
                return Ok(None);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Writes everything while the connection blocks.
    ///
    /// # Errors
    /// Fails if the connection fails.
    pub(super) fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.write(bytes)?.ok_or(io::ErrorKind::TimedOut)?;
            bytes = &bytes[count..];
        }
        self.flush()
    }

    /// Fills a buffer while the connection blocks.
    ///
    /// # Errors
    /// Fails if the connection fails or ends, or there is no answer in time.
    pub(super) fn hear(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer)? {
                Some(0) => return Err(io::Error::other("the server ended a connection")),
                Some(count) => buffer = &mut buffer[count..],
                None => return Err(io::Error::other(format!("no answer for {PATIENCE:?}"))),
            }
        }
        Ok(())
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Returns whether the socket has taken all encrypted bytes.
fn pass_on(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        if would_block(tls.write_tls(socket))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
