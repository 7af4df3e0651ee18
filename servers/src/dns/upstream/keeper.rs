//! The source that opens and closes ports, and tells the engine the time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use log::warn;
use protocol::Limits;
use protocol::dns::OverUdp;
use reactor::{
    Address, Cx, DatagramOptions, DatagramSocket, Datagrams, Expired, Folding, Handler, LoopCx,
    TimerId,
};

use super::sockets::UpstreamSocket;
use crate::dns::app::Dns;

/// The keys of the timers.
const DUE: u64 = 0;
const OPEN: u64 = 1;
/// After how long ports are opened again that could not be.
const OPEN_AGAIN: Duration = Duration::from_secs(1);
/// How often a port is drawn until one is free.
const DRAWS_MAX: u32 = 32;

/// Opens and closes ports whenever it is woken, and calls the engine when something is due.
#[derive(Default)]
pub(in crate::dns) struct Keeper {
    timer: Option<TimerId>,
    opens_later: bool,
    log: Folding,
}

impl Keeper {
    /// Opens the ports that are missing, unless the loop winds down. Those that cannot be opened are tried
    /// again after a pause.
    fn open_ports(&mut self, cx: &mut Cx<'_, Dns>) {
        if self.opens_later || cx.is_stopping() {
            return;
        }
        if let Err(error) = open_missing(&mut cx.outside()) {
            if let Some(folded) = self.log.admit(cx.now()) {
                warn!("{error}{folded}");
            }
            self.opens_later = true;
            cx.set_timer(OPEN_AGAIN, None, OPEN);
        }
    }

    /// Sets the timer for what the engine does next.
    fn set_alarm(&mut self, cx: &mut Cx<'_, Dns>) {
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        let due = cx.app.engine.next_due();
        cx.app.alarm = due;
        if let Some(due) = due {
            let after = due.saturating_duration_since(cx.now());
            self.timer = Some(cx.set_timer(after, None, DUE));
        }
    }
}

impl Handler<Dns> for Keeper {
    fn ready(&mut self, cx: &mut Cx<'_, Dns>) -> io::Result<()> {
        self.open_ports(cx);
        for source in cx.app.engine.ports.take_closings() {
            cx.close(source);
        }
        self.set_alarm(cx);
        Ok(())
    }

    fn timer(&mut self, expired: Expired, cx: &mut Cx<'_, Dns>) -> io::Result<()> {
        if expired.key == OPEN {
            self.opens_later = false;
            self.open_ports(cx);
            return Ok(());
        }
        self.timer = None;
        let now = cx.now();
        for done in cx.app.engine.expire(now) {
            cx.app.answer(done, None, now);
        }
        Dns::settle_outside(&mut cx.outside());
        self.set_alarm(cx);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "dns::Keeper"
    }
}

/// Opens the ports, and the clients over TCP, that are missing.
///
/// # Errors
/// Why the first one that could not be opened was not. The others were tried too.
pub(in crate::dns) fn open_missing(cx: &mut LoopCx<'_, Dns>) -> io::Result<()> {
    let mut result = Dns::open_connections(cx);
    for (upstream, count) in cx.app.engine.ports.missing() {
        let address = cx.app.engine.servers()[upstream].address;
        for _ in 0..count {
            if let Err(error) = open(upstream, address, cx) {
                result = result.and(Err(error));
                break;
            }
        }
    }
    result
}

/// Opens a port. Its number is drawn again while another program has it.
fn open(upstream: usize, address: SocketAddr, cx: &mut LoopCx<'_, Dns>) -> io::Result<()> {
    let mut draws = 0;
    let socket = loop {
        draws += 1;
        let port = cx.app.engine.draw_port()?;
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let local = Some(Address::Udp((any, port).into()));
        let options = DatagramOptions { local, ..DatagramOptions::default() };
        match DatagramSocket::connect(&Address::Udp(address), &options) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && draws < DRAWS_MAX => {}
            result => break result?,
        }
    };
    let id = cx.app.engine.ports.name();
    let limits = Limits { message_size_max: u16::MAX.into(), ..Limits::DEFAULT };
    let token = Datagrams::serve(socket, OverUdp, UpstreamSocket::new(id), limits, cx)?;
    cx.app.engine.port_opened(id, upstream, token.into())
}
