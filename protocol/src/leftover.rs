//! Lending buffers: many connections share one pair, and keep only what is left over.

use crate::{Agenda, Buffer, Output};

/// The buffers that all connections of a driver share, lent to one of them at a time, so that an
/// idle connection owns none.
#[derive(Debug)]
pub struct Scratch {
    /// Where input is read to.
    pub input: Buffer,
    /// Where output is gathered.
    pub output: Output,
    /// What the session asks for besides bytes.
    pub agenda: Agenda,
}

impl Scratch {
    /// The size of the shared input buffer, and so the most that one read takes.
    pub const INPUT_SIZE: usize = 64 * 1024;
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            input: Buffer::with_capacity(Self::INPUT_SIZE),
            output: Output::new(),
            agenda: Agenda::default(),
        }
    }
}

/// What one connection keeps between two calls: an incomplete message and unsent output, while
/// there are any. Otherwise it owns no heap memory.
#[derive(Debug, Default)]
pub struct Leftover {
    input: Option<Box<Buffer>>,
    output: Option<Box<Output>>,
}

/// The shared buffers that were put aside for a connection's own.
#[derive(Debug)]
#[must_use]
pub struct Loan {
    input: Option<Box<Buffer>>,
    output: Option<Box<Output>>,
}

impl Leftover {
    /// Whether something is still to be sent.
    pub fn has_output(&self) -> bool {
        self.output.is_some()
    }

    /// Puts what the connection has kept where it is worked on. A little input is copied into the
    /// shared buffer, whose room then makes for large reads; much of it takes the buffer's place.
    pub fn lend(&mut self, scratch: &mut Scratch) -> Loan {
        let mut aside = None;
        if let Some(mut own) = self.input.take() {
            if own.len() <= Scratch::INPUT_SIZE / 2 {
                scratch.input.extend_from_slice(own.filled());
            } else {
                std::mem::swap(&mut scratch.input, &mut own);
                aside = Some(own);
            }
        }
        let output = self.output.take().map(|mut own| {
            std::mem::swap(&mut scratch.output, &mut own);
            own
        });
        Loan { input: aside, output }
    }

    /// Keeps what is left, and puts the shared buffers back.
    pub fn keep(&mut self, scratch: &mut Scratch, loan: Loan) {
        self.keep_input(&mut scratch.input, loan.input);
        if let Some(mut shared) = loan.output {
            std::mem::swap(&mut scratch.output, &mut shared);
            self.output = (!shared.is_empty()).then_some(shared);
        } else if !scratch.output.is_empty() {
            self.output = Some(Box::new(scratch.output.take()));
        }
    }

    fn keep_input(&mut self, input: &mut Buffer, aside: Option<Box<Buffer>>) {
        let has_grown = input.capacity() > Scratch::INPUT_SIZE;
        if aside.is_some() || has_grown {
            let shared = aside.map_or_else(|| Scratch::default().input, |shared| *shared);
            let own = std::mem::replace(input, shared);
            self.input = (!own.is_empty()).then(|| Box::new(own));
        } else if !input.is_empty() {
            let mut own = Buffer::with_capacity(input.len());
            own.extend_from_slice(input.filled());
            input.clear();
            self.input = Some(Box::new(own));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works on the buffers once, as a driver does.
    fn work(leftover: &mut Leftover, scratch: &mut Scratch, call: impl FnOnce(&mut Scratch)) {
        let loan = leftover.lend(scratch);
        call(scratch);
        leftover.keep(scratch, loan);
        assert!(scratch.input.is_empty() && scratch.output.is_empty());
        assert_eq!(scratch.input.capacity(), Scratch::INPUT_SIZE);
    }

    #[test]
    fn what_is_left_over_is_there_the_next_time() {
        let (mut one, mut two, mut scratch) =
            (Leftover::default(), Leftover::default(), Scratch::default());
        for size in [1, 10, 40_000, 60_000, 300_000] {
            work(&mut one, &mut scratch, |scratch| {
                let fill = vec![1; size];
                scratch.input.extend_from_slice(&fill);
                scratch.output.append(&fill);
            });
            work(&mut two, &mut scratch, |scratch| {
                assert!(scratch.input.is_empty() && scratch.output.is_empty());
                scratch.input.extend_from_slice(b"two");
            });
            work(&mut one, &mut scratch, |scratch| {
                assert_eq!((scratch.input.len(), scratch.output.len()), (size, size as u64));
                scratch.input.consume(size);
                scratch.output.consume(size as u64);
            });
            assert!(one.input.is_none() && one.output.is_none(), "{size} bytes left memory");
            work(&mut two, &mut scratch, |scratch| scratch.input.clear());
        }
    }
}
