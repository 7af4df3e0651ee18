//! WebSocket with other programs as peers: `python3-websockets`, `ws` of Node, and Autobahn's suite.

mod autobahn;
mod client;
mod echo;
mod peers;
mod sizes;
