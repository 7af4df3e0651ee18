//! The session that follows HTTP on a connection.

use protocol::{Buffer, Context, Flow, Output, Reason, Session};

use super::app::App;
use super::proxy::Tunnel;

/// The session that follows HTTP on a connection whose protocol has changed.
pub enum Next {
    /// None: the connection is closed.
    Nothing,
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
            Self::Tunnel(tunnel) => tunnel.advance(input, output, context),
        }
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        match self {
            Self::Nothing => {}
            Self::Tunnel(tunnel) => tunnel.closed(reason, context),
        }
    }
}
