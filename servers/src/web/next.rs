//! The session that follows HTTP on a connection.

use protocol::websocket::Connection;
use protocol::{Buffer, Context, Flow, Output, Reason, Session};

use super::app::App;
use super::echo::Echo;
use super::proxy::Tunnel;

/// The session that follows HTTP on a connection whose protocol has changed.
pub enum Next {
    /// None: the connection is closed.
    Nothing,
    /// A WebSocket that sends back what it receives.
    Echo(Box<Connection<Echo>>),
    /// It relays bytes to and from another server.
    Tunnel(Tunnel),
}

impl Session<App> for Next {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        match self {
            Self::Nothing => Ok(Flow::Close),
            Self::Echo(echo) => echo.advance(input, output, context),
            Self::Tunnel(tunnel) => tunnel.advance(input, output, context),
        }
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        match self {
            Self::Nothing => {}
            Self::Echo(echo) => echo.closed(reason, context),
            Self::Tunnel(tunnel) => tunnel.closed(reason, context),
        }
    }
}
