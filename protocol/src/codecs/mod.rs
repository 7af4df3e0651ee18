//! Codecs that are ready to use.

mod bytes;
mod fixed;
mod length_prefixed;
mod lines;
mod packet;

pub use bytes::Bytes;
pub use fixed::{Fixed, FixedError};
pub use length_prefixed::{
    ByteOrder, LengthCounts, LengthField, LengthPrefixed, LengthPrefixedError,
};
pub use lines::{LineEnd, Lines, LinesError};
pub use packet::{Packet, PacketError, PacketMessage, PacketView};
