//! What the loop of a model does: it accepts, hears signals, and watches over what serves. No connection
//! is served on it.

use std::fmt;
use std::io;

use log::{info, warn};
use reactor::blocking::Told;
use reactor::{Backend, BackendKind, Cx, Handler, LoopCx, LoopLimits, Reactor};

use crate::run::{self, Figures};
use crate::service_manager::ServiceManager;
use crate::signals::{self, Orders, Reload};
use crate::tls::Tls;

/// The state of the loop of a model.
pub(super) trait Desk: Sized + 'static {
    /// Returns what serves connections now, for the log.
    fn report(&self) -> String;

    /// Passes on what the server was told. Connections of the loop are told besides.
    ///
    /// # Errors
    /// When the loop takes no timer.
    fn tell(told: Told, cx: &mut LoopCx<'_, Self>) -> io::Result<()>;
}

/// Makes the loop of the main process, which hears the signals and tells the service manager.
///
/// # Errors
/// When the kernel has no descriptor left.
pub(super) fn open<D: Desk>(desk: D, connections_max: usize) -> io::Result<Reactor<D>> {
    let mut reactor = with_limit(BackendKind::default().open()?, desk, connections_max)?;
    let manager = ServiceManager::find();
    let interval = manager.watchdog();
    let mut cx = reactor.cx();
    if let Some(interval) = interval {
        let manager = ServiceManager::find();
        cx.every(interval, move |_, _| manager.alive())?;
    }
    manager.ready();
    signals::heed(None, MainOrders { told: Told::Nothing, manager }, &mut cx)?;
    Ok(reactor)
}

/// Makes a loop with a limit of connections.
pub(super) fn with_limit<A: 'static>(
    backend: Box<dyn Backend>,
    app: A,
    connections_max: usize,
) -> io::Result<Reactor<A>> {
    Reactor::with_backend(backend, LoopLimits { connections_max, ..LoopLimits::DEFAULT }, app)
}

/// Stands for a connection that is served elsewhere.
pub(super) struct Stands;

impl<A> Handler<A> for Stands {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn stopping(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }
}

/// Carries out the signals of the main process.
struct MainOrders {
    told: Told,
    manager: ServiceManager,
}

impl MainOrders {
    fn tell<D: Desk>(&mut self, told: Told, cx: &mut LoopCx<'_, D>) {
        self.told = told;
        if let Err(error) = D::tell(told, cx) {
            warn!("stopping at once: {error}");
            cx.stop();
        }
    }
}

impl<D: Desk> Orders<D> for MainOrders {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, D>) {
        info!("{}: {}", cx.app.report(), Figures(cx.counters()));
    }

    fn is_stopping(&self, _cx: &LoopCx<'_, D>) -> bool {
        self.told != Told::Nothing
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, D>) {
        self.manager.stopping("connections finish");
        run::stop_gracefully(why, cx);
        self.tell(Told::Stop, cx);
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, D>) {
        self.tell(Told::StopNow, cx);
        cx.stop();
    }

    fn reload(&mut self, _tls: Option<&Tls>, _cx: &mut LoopCx<'_, D>) -> Reload {
        // There are no certificates without a loop for the connections.
        Reload::NoFiles
    }

    fn hand_over(&mut self, _cx: &mut LoopCx<'_, D>) {
        warn!("no new program is started: only a server with --model reactor hands over");
    }
}
