//! tungstenite, on tokio's current-thread runtime (tokio-tungstenite): the form in which servers use
//! it.

use std::io;
use std::net::TcpListener as StdListener;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Error;

use super::tokio::runtime;

/// Serves echo of whole messages for ever, with a task for each connection.
///
/// # Errors
/// Fails if accepting fails.
pub fn echo(listener: StdListener) -> io::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(serve(stream));
        }
    })
}

/// Echoes until the peer ends.
async fn serve(stream: TcpStream) -> Result<(), Error> {
    let mut socket = accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
