//! Our reactor: its ready services, its drivers and its default limits, idle timeout included.

use std::io;

use protocol::{Limits, Session};
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Stream};

use super::announce;

/// Serves echo for ever.
///
/// # Errors
/// When the loop can not run.
pub fn echo(kind: BackendKind) -> io::Result<()> {
    serve(kind, servers::echo::session)
}

fn serve<S: Session + 'static>(kind: BackendKind, make: fn() -> S) -> io::Result<()> {
    let any: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let listener = Listener::bind(&any, &ListenOptions::default())?;
    let address = listener.address().to_string();
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_| make())?;
    announce(&address)?;
    reactor.run()
}
