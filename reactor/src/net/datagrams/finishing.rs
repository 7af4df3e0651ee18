//! The end of a socket: its loop winds down, or another process goes on with it.

use log::debug;
use protocol::{Cause, Codec, Flow, Service};

use super::{Datagrams, Room, State};
use crate::{Address, Cx, Interest, kernel};

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Tells the service once that it is to finish.
    #[cold]
    pub(super) fn tell_stopping<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        self.open(room, cx);
        if !std::mem::replace(&mut self.state.was_told_to_stop, true) {
            let flow = self.tell(Cause::Stopping, None, room, cx, |service, reply, context| {
                service.stopping(reply, context)
            });
            self.state.is_paused |= flow == Flow::Pause;
        }
    }

    /// Leaves senders to the other sockets that are bound to the same port, before the rest is received. The
    /// kernel gives each socket its share as long as it is open, but a socket that is connected, here to itself,
    /// hears its peer alone, and may send to others. One that is bound to all addresses stays as it is: it would
    /// send from another address then.
    #[cold]
    pub(super) fn leave_port<A>(&mut self, cx: &mut Cx<'_, A>) {
        let address = &self.place.address;
        let Address::Udp(ip) = address else { return };
        if !self.place.shares_port || ip.ip().is_unspecified() || kernel::is_simulated() {
            return;
        }
        let connected = cx.try_io("connect", Interest::NONE, |fd| {
            kernel::connect(fd, address.endpoint()).map(Some)
        });
        match connected {
            Ok(_) => self.place.shares_port = false,
            Err(error) => debug!("{address}: it gets datagrams until it ends: {error}"),
        }
    }

    /// Receives nothing more, and ends when everything is sent and the service is not busy. A socket
    /// whose port others share ends although the service is busy, unless another process goes on with
    /// it: the kernel would go on giving it datagrams.
    #[cold]
    pub(super) fn finish<A>(&mut self, cx: &mut Cx<'_, A>) {
        let State { is_busy, is_retired, .. } = self.state;
        self.state.is_finishing = true;
        if is_busy && (is_retired || !self.place.shares_port) {
            cx.become_connection();
        } else {
            self.state.is_closing = true;
            cx.wake(cx.me());
        }
    }
}
