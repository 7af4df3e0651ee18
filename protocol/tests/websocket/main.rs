//! WebSocket, both sides: against each other, against frames made by hand, and against tungstenite.

#![cfg(feature = "websocket")]

mod closing;
mod compression;
mod differential;
mod ends;
mod frames;
mod limits;
mod play;
mod properties;
mod times;
