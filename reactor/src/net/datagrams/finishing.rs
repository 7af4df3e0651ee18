//! The end of a socket: its loop winds down, or another process goes on with it.

use protocol::{Cause, Codec, Flow, Service};

use super::{Datagrams, Room, State};
use crate::Cx;

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
