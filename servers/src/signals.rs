//! The signals of a server, in one place: what the operator asks for, and what carries it out.

use std::fmt;
use std::io;

use log::{info, warn};
use reactor::{LoopCx, Signal};

use crate::tls::Tls;

/// Carries out what the operator asks for with a signal. It is called on a loop with the state `B`.
pub(crate) trait Orders<B> {
    /// Logs the counters (`SIGUSR1`).
    fn log_counters(&mut self, cx: &mut LoopCx<'_, B>);

    /// Returns whether the server was told to stop.
    fn is_stopping(&self, cx: &LoopCx<'_, B>) -> bool;

    /// Stops the server gracefully.
    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, B>);

    /// Stops the server at once.
    fn stop(&mut self, cx: &mut LoopCx<'_, B>);

    /// Reads files again (`SIGHUP`): the certificates, and what the application has.
    fn reload(&mut self, tls: Option<&Tls>, cx: &mut LoopCx<'_, B>) -> Reload;

    /// Starts a new program that takes over (`SIGUSR2`).
    fn hand_over(&mut self, cx: &mut LoopCx<'_, B>);
}

/// What came of an order to read files again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// They are read, at once or soon.
    Begun,
    /// There are none.
    NoFiles,
}

/// Listens to the signals of a server.
///
/// The first signal to stop stops it gracefully, the second at once. `SIGHUP` reads files again, where
/// there are some, and stops a server without. A terminal that ends may send it twice, so another one
/// changes nothing.
pub(crate) fn heed<B: 'static>(
    tls: Option<Tls>,
    mut orders: impl Orders<B> + 'static,
    cx: &mut LoopCx<'_, B>,
) -> io::Result<()> {
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1, Signal::USER_2];
    // A process that was started with nohup is meant to outlive the terminal.
    if tls.is_some() || !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    cx.on_signals(&signals, move |signal, cx| {
        if let Some(sender) = signal.last_sender() {
            info!("{signal} was sent by {sender}");
        }
        if signal == Signal::USER_1 {
            orders.log_counters(cx);
        } else if signal == Signal::USER_2 {
            orders.hand_over(cx);
        } else if signal == Signal::HANGUP && orders.reload(tls.as_ref(), cx) == Reload::Begun {
            // The server goes on.
        } else if !orders.is_stopping(cx) {
            orders.stop_gracefully(&signal, cx);
        } else if signal != Signal::HANGUP {
            warn!("{signal} again: stopping at once");
            orders.stop(cx);
        }
    })?;
    // A signal that comes after the loop has ended must not end the process before it exits by
    // itself.
    Signal::outlive(&signals)
}
