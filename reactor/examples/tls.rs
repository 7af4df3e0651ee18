//! Sends lines back in upper case over TLS, and greets a client by its certificate. `SIGHUP` makes it
//! read its own certificate again, while connections go on.
//!
//! ```sh
//! openssl req -x509 -newkey ed25519 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE
//! cargo run -p myevent-reactor --example tls -- 127.0.0.1:7443 cert.pem key.pem
//! openssl s_client -quiet -verify_return_error -CAfile cert.pem -servername localhost -connect 127.0.0.1:7443
//! ```
//!
//! With a fourth argument, the file of an authority, clients may have a certificate of it.

use protocol::codecs::Lines;
use protocol::link::Link;
use protocol::tls::{ClientCertificates, Identity, Roots, TlsServer, TlsServerOptions};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{ListenOptions, Listener, Reactor, Signal, Stream};
use std::error::Error;
use std::fs;
use std::sync::Arc;

/// The session does not know whether it is encrypted, unless it asks.
struct Shout;

impl Service<Lines> for Shout {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_>,
    ) -> Flow {
        match context.secured.and_then(|it| it.peer_subject()) {
            Some(subject) if line == b"hello" => reply.send(format!("HELLO {subject}").as_bytes()),
            _ => {
                line.make_ascii_uppercase();
                reply.send(line);
            }
        }
        Flow::Continue
    }
}

/// Reads the certificate, its key, and the authorities of clients.
fn read(files: &[String]) -> Result<TlsServerOptions, Box<dyn Error>> {
    let [certificate, key, authorities @ ..] = files else {
        return Err("give an address, the file of a certificate, and that of its key".into());
    };
    let identity = Identity::from_pem(&fs::read(certificate)?, &fs::read(key)?)?;
    let mut options = TlsServerOptions::new(vec![identity]);
    if let Some(file) = authorities.first() {
        options.clients = ClientCertificates::Optional(Roots::from_pem(&fs::read(file)?)?);
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7443".to_owned());
    let files: Vec<String> = args.collect();
    let tls = TlsServer::new(read(&files)?)?;
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());

    let mut reactor = Reactor::new(())?;
    let limits = Limits::DEFAULT.shared()?;
    let shared = tls.clone();
    listener.register(&mut reactor.cx(), move |accepted, cx| {
        let session = Conversation::new(Lines::default(), Shout);
        let link = Link::with_layer(session, shared.layer()?, Arc::clone(&limits));
        Stream::over(link).register(accepted, cx).map(drop)
    })?;
    reactor.cx().on_signals(&[Signal::HANGUP], move |_, _| {
        // A file that cannot be used changes nothing.
        match read(&files).and_then(|options| Ok(tls.replace(options)?)) {
            Ok(()) => println!("the certificate was read again"),
            Err(error) => println!("the old certificate stays: {error}"),
        }
    })?;
    Ok(reactor.run()?)
}
