//! The names of operations: whose they are, and what they do.

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Reports what a descriptor is ready for.
    Watch,
    /// Receives into shared blocks.
    Receive,
    /// Receives into blocks of its own.
    ReceiveBlock,
    /// Sends what was written in a turn.
    Send,
    /// Sends the rest of that.
    SendRest,
    /// Reports that there is room for output.
    AwaitRoom,
    /// Changes or cancels another operation.
    Control,
}

/// The name of an operation: a channel and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) channel: usize,
    pub(super) does: Does,
}

impl Name {
    #[inline]
    pub(super) const fn bits(self) -> u64 {
        (self.channel as u64) << 3 | self.does as u64
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        let does = match bits & 7 {
            0 => Does::Watch,
            1 => Does::Receive,
            2 => Does::ReceiveBlock,
            3 => Does::Send,
            4 => Does::SendRest,
            5 => Does::AwaitRoom,
            _ => Does::Control,
        };
        Self { channel: (bits >> 3) as usize, does }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_kernel() {
        use Does::{AwaitRoom, Control, Receive, ReceiveBlock, Send, SendRest, Watch};
        for does in [Watch, Receive, ReceiveBlock, Send, SendRest, AwaitRoom, Control] {
            for channel in [0, 1, u32::MAX as usize] {
                let name = Name { channel, does };
                assert_eq!(Name::from_bits(name.bits()), name);
            }
        }
    }
}
