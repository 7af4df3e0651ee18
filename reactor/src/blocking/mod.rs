//! Connections over blocking sockets: what a client needs that waits, and a server with a thread or a
//! process for each connection, whatever the protocol.
//!
//! [`Socket::connect`] connects to an address or a name. A [`Driver`] moves the bytes of any
//! session of [`protocol::link::Link`] over the socket. Each wait has a [`Deadline`], and a signal
//! does not interrupt it. A [`Cutter`] ends a wait from another thread.
//!
//! A client of one server calls [`Driver::send`] and [`Driver::receive`], which wait. A client of
//! several servers calls [`Driver::advance`] of each, which does not wait, and then [`wait`] for all
//! of them together. A server calls [`Driver::serve`], which returns when the connection has ended.
//!
//! A simulated host ([`sim`](crate::sim)) has no blocking sockets: nothing there could go on while one
//! waits.
//!
//! ```
//! use reactor::blocking::{Deadline, Driver, Socket};
//! use protocol::link::Link;
//! use protocol::{Buffer, Context, Flow, Limits, Output, Reason, Session};
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! /// The state that the caller and the session share during an operation.
//! struct Exchange {
//!     question: Vec<u8>,
//!     answer: Option<String>,
//! }
//!
//! /// Sends a question, and takes one line as its answer.
//! struct Ask;
//!
//! impl Session<Exchange> for Ask {
//!     fn advance(
//!         &mut self,
//!         input: &mut Buffer,
//!         output: &mut Output,
//!         context: &mut Context<'_, Exchange>,
//!     ) -> Result<Flow, Reason> {
//!         output.append(&std::mem::take(&mut context.app.question));
//!         if let Some(end) = input.filled().iter().position(|byte| *byte == b'\n') {
//!             let line = String::from_utf8_lossy(&input.filled()[..end]).into_owned();
//!             context.app.answer = Some(line);
//!             input.consume(end + 1);
//!         }
//!         Ok(Flow::Continue)
//!     }
//! }
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = std::thread::spawn(move || {
//!     let (mut stream, _) = listener.accept()?;
//!     stream.read_exact(&mut [0; 5])?;
//!     stream.write_all(b"noon\n")
//! });
//!
//! let socket = Socket::connect(address, Some(Duration::from_secs(5)))?;
//! let mut driver = Driver::new(socket, Link::new(Ask, Limits::DEFAULT.shared()?));
//! let mut exchange = Exchange { question: b"time\n".to_vec(), answer: None };
//! let mut deadline = Deadline::after(Some(Duration::from_secs(5)));
//! driver.receive(&mut exchange, &mut deadline, |exchange| exchange.answer.is_some())?;
//! assert_eq!(exchange.answer.as_deref(), Some("noon"));
//! # server.join().expect("it does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connecting;
mod deadline;
mod driver;
mod error;
mod serve;
mod signals;
mod socket;
mod wait;

pub use deadline::Deadline;
pub use driver::Driver;
pub use error::Error;
pub use serve::{Orders, Told};
pub use signals::{IoReport, IoSignals};
pub use socket::{Cutter, Socket};
pub use wait::{Wants, wait};
