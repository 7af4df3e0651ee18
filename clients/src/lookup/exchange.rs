//! The sockets: each has an [`Exchange`], which sends what waits for it and hands over what arrives.

use std::io;

use protocol::dns::{OverTcp, OverUdp, Received};
use protocol::{
    Codec, Context, Conversation, DatagramFailure, Flow, Limits, Reason, Reply, Service,
};
use reactor::{
    Address, ConnectOptions, DatagramOptions, DatagramSocket, Datagrams, LoopCx, Stream, Token,
};

use super::App;
use super::flight::ChannelId;
use super::hearing::Step;
use super::options::Transport;
use super::tally::Dropped;

/// The largest message, in bytes.
const MESSAGE_MAX: usize = 65_535;
/// The size of the receive buffer of a datagram socket in bytes, if the system allows it: room for the
/// largest answers to all questions on it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The service of one socket, a datagram socket or a connection.
pub(super) struct Exchange(pub(super) ChannelId);

/// Opens a socket to a server. It sends nothing before it is woken.
pub(super) fn open(
    id: ChannelId,
    (server, transport): (usize, Transport),
    cx: &mut LoopCx<'_, App>,
) -> io::Result<Token> {
    let address = cx.app.tool.plan.servers[server].address;
    let limits = Limits { message_size_max: MESSAGE_MAX, ..Limits::DEFAULT };
    match transport {
        Transport::Udp => {
            let options = DatagramOptions {
                receive_buffer: Some(RECEIVE_BUFFER),
                ..DatagramOptions::default()
            };
            let socket = DatagramSocket::connect(&Address::Udp(address), &options)?;
            Datagrams::serve(socket, OverUdp, Exchange(id), limits, cx)
        }
        Transport::Tcp => {
            // The codec knows the limit, and the length of a message comes on top of it.
            let limits = Limits { message_size_max: MESSAGE_MAX + 2, ..limits };
            Stream::new(Conversation::new(OverTcp::new(), Exchange(id)), limits).connect(
                Address::Tcp(address),
                &ConnectOptions::DEFAULT,
                cx,
            )
        }
    }
}

impl Exchange {
    fn send<C>(&self, reply: &mut Reply<'_, C>, context: &mut Context<'_, App>) -> Flow
    where
        C: for<'a> Codec<Out<'a> = &'a [u8]>,
    {
        let Some(channel) = context.app.tool.channels.get_mut(&self.0) else { return Flow::Close };
        channel.outbox.drain(..).for_each(|message| reply.send(&message));
        Flow::Continue
    }
}

/// Wakes those that have something to do after a change.
fn wake(context: &mut Context<'_, App>) {
    context.effects.wake(context.app.connection.into());
    if !context.app.down.is_empty() {
        context.effects.wake(context.app.output.into());
    }
}

impl<C> Service<C, App> for Exchange
where
    C: for<'a> Codec<In<'a> = Received<'a>, Out<'a> = &'a [u8]>,
{
    fn open(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, App>) -> Flow {
        self.send(reply, context)
    }

    fn resume(&mut self, reply: &mut Reply<'_, C>, context: &mut Context<'_, App>) -> Flow {
        self.send(reply, context)
    }

    fn call(
        &mut self,
        received: Received<'_>,
        _reply: &mut Reply<'_, C>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let (now, app) = (context.now, &mut *context.app);
        if app.tool.receive(self.0, &received, now, &mut app.down) == Step::Moved {
            wake(context);
        }
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        _reply: &mut Reply<'_, C>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        match failure {
            DatagramFailure::Undelivered(error) => {
                let why = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    _ => error.to_string(),
                };
                let (now, app) = (context.now, &mut *context.app);
                app.tool.fail_channel(self.0, &why, now, &mut app.down);
                wake(context);
            }
            DatagramFailure::Malformed(_) => {
                context.app.tool.tally.count_dropped(Dropped::Malformed);
            }
            // What is lost is asked again when its time is over.
            _ => {}
        }
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        if matches!(reason, Reason::Stopped) {
            return;
        }
        let why = match reason {
            Reason::Failed { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused => {
                "connection refused".to_owned()
            }
            Reason::PeerClosed | Reason::Finished => "the server ended the connection".to_owned(),
            Reason::Failed { operation: "connect", error, .. } => error.to_string(),
            other => other.to_string(),
        };
        let (now, app) = (context.now, &mut *context.app);
        app.tool.remove_channel(self.0, &why, now, &mut app.down);
        wake(context);
    }
}
