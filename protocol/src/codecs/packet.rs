//! The framing of the MooseFS family: a type, a length, a body.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::{Codec, Decoded, NotSaved, Output, SavedState, State, StateError};

/// A 32-bit type and a 32-bit length in network order, then the body.
const HEADER: usize = 8;

/// Packets of a 32-bit type, a 32-bit length and a body, all in network order: the framing of the
/// daemons of the MooseFS family.
///
/// ```
/// use protocol::codecs::{Packet, PacketMessage};
/// use protocol::{Codec, Output};
/// use std::sync::Arc;
///
/// let news = PacketMessage { kind: 7, body: &[b'.'; 1000] };
/// let news = Packet::default().encode_shared(news);
/// let mut outputs = [const { Output::new() }; 100];
/// for output in &mut outputs {
///     output.share(Arc::clone(&news)); // one encoding, no copy
/// }
/// assert_eq!(Arc::strong_count(&news), 101);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    size_max: u32,
}

/// A received packet.
#[derive(Debug, PartialEq, Eq)]
pub struct PacketView<'a> {
    /// Its type.
    pub kind: u32,
    /// Its body, as a view of the input.
    pub body: &'a mut [u8],
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMessage<'a> {
    /// Its type.
    pub kind: u32,
    /// Its body.
    pub body: &'a [u8],
}

impl Packet {
    /// Returns a codec for packets with a body of at most `size_max` bytes.
    pub const fn with_size_max(size_max: u32) -> Self {
        Self { size_max }
    }

    /// Sets the size of the largest body from the next packet on, in bytes: a peer that has not said who
    /// it is may have to send less.
    ///
    /// The limits of the conversation have to allow the largest of these sizes.
    pub const fn set_size_max(&mut self, size_max: u32) {
        self.size_max = size_max;
    }

    fn header(kind: u32, body: &[u8]) -> [u8; HEADER] {
        let length = u32::try_from(body.len()).expect("a packet's body is shorter than 4 GiB");
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&kind.to_be_bytes());
        header[4..].copy_from_slice(&length.to_be_bytes());
        header
    }
}

impl Default for Packet {
    /// Returns a codec for bodies of up to 1,000,000 bytes, which fit the default limits of a
    /// conversation together with their headers.
    fn default() -> Self {
        Self::with_size_max(1_000_000)
    }
}

impl Codec for Packet {
    type In<'a> = PacketView<'a>;
    type Out<'a> = PacketMessage<'a>;
    type Error = PacketError;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        _output: &mut Output,
    ) -> Result<Decoded<PacketView<'a>>, PacketError> {
        let Some((header, rest)) = input.split_first_chunk_mut::<HEADER>() else {
            return Ok(Decoded::Incomplete { need: HEADER });
        };
        let [k0, k1, k2, k3, l0, l1, l2, l3] = *header;
        let kind = u32::from_be_bytes([k0, k1, k2, k3]);
        let size = u32::from_be_bytes([l0, l1, l2, l3]);
        if size > self.size_max {
            return Err(PacketError::TooLong { kind, size, size_max: self.size_max });
        }
        let size = size as usize;
        // With a usize of 32 bits, the largest sizes leave no room for the header.
        let need = HEADER.saturating_add(size);
        Ok(match rest.get_mut(..size) {
            Some(body) => Decoded::Message { message: PacketView { kind, body }, consumed: need },
            None => Decoded::Incomplete { need },
        })
    }

    /// # Panics
    /// When the body has 4 GiB or more.
    fn encode(&mut self, packet: PacketMessage<'_>, output: &mut Output) {
        output.append(&Self::header(packet.kind, packet.body));
        output.append(packet.body);
    }

    /// # Panics
    /// When the body has 4 GiB or more.
    fn encode_shared(&mut self, packet: PacketMessage<'_>) -> Arc<[u8]> {
        [&Self::header(packet.kind, packet.body), packet.body].concat().into()
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), PacketError> {
        match rest.len() {
            0 => Ok(()),
            got => Err(PacketError::Unterminated { got }),
        }
    }

    fn save(&self, state: &mut State) -> Result<(), NotSaved> {
        state.number(self.size_max.into());
        Ok(())
    }

    fn restore(&mut self, state: &mut SavedState<'_>) -> Result<(), StateError> {
        let size_max = state.number()?;
        self.size_max = u32::try_from(size_max)
            .map_err(|_| StateError::Invalid("the largest size of a packet is too large"))?;
        Ok(())
    }
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The body is larger than allowed.
    TooLong {
        /// The packet's type.
        kind: u32,
        /// The size of the body in bytes.
        size: u32,
        /// The limit in bytes.
        size_max: u32,
    },
    /// The stream ended in the middle of a packet.
    Unterminated {
        /// How many of its bytes had arrived.
        got: usize,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { kind, size, size_max } => {
                write!(f, "packet of type {kind} with {size} bytes, the limit is {size_max}")
            }
            Self::Unterminated { got } => {
                write!(f, "the stream ended after {got} bytes of a packet")
            }
        }
    }
}

impl Error for PacketError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use crate::{
        Buffer, ConnectionId, Context, Conversation, Effects, Flow, Limits, Reply, Service, Session,
    };
    use std::time::Instant;

    fn encoded(kind: u32, body: &[u8]) -> Arc<[u8]> {
        Packet::default().encode_shared(PacketMessage { kind, body })
    }

    #[derive(Default)]
    struct Collect(Vec<(u32, Vec<u8>)>);

    impl Service<Packet> for Collect {
        fn call(
            &mut self,
            packet: PacketView<'_>,
            _reply: &mut Reply<'_, Packet>,
            _context: &mut Context<'_>,
        ) -> Flow {
            self.0.push((packet.kind, packet.body.to_vec()));
            Flow::Continue
        }
    }

    #[test]
    fn many_packets_of_one_read_are_delivered_at_once() {
        let bytes: Vec<u8> = (0..1000).flat_map(|kind| encoded(kind, &[1; 5]).to_vec()).collect();
        let mut session = Conversation::new(Packet::default(), Collect::default());
        testing::drive(&mut session, &mut (), &[&bytes]).expect("they are packets");
        assert_eq!(session.service().0.len(), 1000);
        assert_eq!(session.service().0[999], (999, vec![1; 5]));
    }

    /// Sends the same news to each peer that sends a packet.
    struct Tell(Arc<[u8]>);

    impl Service<Packet> for Tell {
        fn call(
            &mut self,
            _packet: PacketView<'_>,
            reply: &mut Reply<'_, Packet>,
            _context: &mut Context<'_>,
        ) -> Flow {
            reply.share(Arc::clone(&self.0));
            Flow::Continue
        }
    }

    #[test]
    fn what_is_encoded_once_is_shared_by_all_replies() {
        let (news, limits) = (encoded(7, &[1; 1000]), Limits::DEFAULT);
        let (mut app, mut effects, mut outputs) = ((), Effects::default(), Vec::new());
        for peer in 0..100 {
            let mut session = Conversation::new(Packet::default(), Tell(Arc::clone(&news)));
            let (mut input, mut output) = (Buffer::new(), Output::new());
            input.extend_from_slice(&encoded(1, b""));
            let now = Instant::now();
            let mut context =
                Context::new(now, ConnectionId(peer), &mut app, &limits, &mut effects);
            let flow = session.advance(&mut input, &mut output, &mut context);
            assert_eq!(flow.expect("it is a packet"), Flow::Continue);
            assert_eq!(output.to_vec(), &news[..]);
            outputs.push(output);
        }
        assert_eq!(Arc::strong_count(&news), 1 + outputs.len());
    }

    #[test]
    fn the_largest_packet_is_delivered_and_no_more_is_kept() {
        let of = |size| encoded(3, &vec![1; size]).to_vec();
        testing::check_limit(|| Packet::with_size_max(50), 50, of);
    }

    #[test]
    fn the_limit_can_change_between_packets() {
        let mut bytes = [encoded(1, &[1; 20]), encoded(2, &[2; 20])].concat();
        let (mut codec, mut output) = (Packet::with_size_max(10), Output::new());
        assert!(codec.decode(&mut bytes, &mut output).is_err());
        codec.set_size_max(20);
        let decoded = codec.decode(&mut bytes, &mut output).expect("it is allowed");
        assert!(matches!(decoded, Decoded::Message { consumed: 28, .. }));
    }

    #[test]
    fn the_default_limit_fits_that_of_a_conversation() {
        let largest = HEADER + Packet::default().size_max as usize;
        assert!(largest <= Limits::DEFAULT.message_size_max);
    }

    #[test]
    fn packets_survive_every_split_and_garbage_is_no_danger() {
        let bytes = [encoded(1, b"abc"), encoded(2, b"")].concat();
        let make = || Packet::with_size_max(10);
        let seen = testing::check_splits(make, &bytes, |packet| packet.body.to_vec());
        assert_eq!(seen, [&b"abc"[..], b""]);
        testing::check_round_trip(
            make,
            &[b"abc", b"", b"0123456789"],
            |body| PacketMessage { kind: 3, body },
            |packet| packet.body.to_vec(),
        );
        testing::check_refused(make, &encoded(3, &[0; 11])[..HEADER]);
        testing::check_garbage(make, 1000);
    }
}
