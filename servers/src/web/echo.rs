//! A WebSocket that sends back what it receives.

use protocol::websocket::{Message, Sender, Service};
use protocol::{Context, Flow};

use super::app::App;

/// The service of such a WebSocket.
#[derive(Debug)]
pub struct Echo;

impl Service<App> for Echo {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) -> Flow {
        match message {
            Message::Text(text) => sender.text(text),
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }
}
