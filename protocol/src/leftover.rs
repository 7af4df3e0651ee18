//! Lending buffers: many connections share one pair, and keep only what is left over.

use crate::{Buffer, Effects, Output};

/// The buffers that all connections of a driver share, lent to one of them at a time, so that an
/// idle connection owns none.
#[derive(Debug)]
pub struct Scratch {
    /// Where input is read to.
    pub input: Buffer,
    /// Where output is gathered.
    pub output: Output,
    /// What the session asks for besides bytes.
    pub effects: Effects,
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
            effects: Effects::default(),
        }
    }
}

/// What one connection keeps between two calls: an incomplete message and unsent output, while
/// there are any. Otherwise it owns no heap memory.
#[derive(Debug, Default)]
pub struct Leftover {
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    input: Buffer,
    output: Output,
}

/// The shared buffers that were put aside for a connection's own.
#[derive(Debug)]
#[must_use]
pub struct Loan {
    aside: Option<Box<Kept>>,
    input_is_own: bool,
    output_is_own: bool,
}

impl Leftover {
    /// Whether something is still to be sent.
    pub fn has_output(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| !kept.output.is_empty())
    }

    /// Puts what the connection has kept where it is worked on. A little input is copied into the
    /// shared buffer, whose room then makes for large reads; much of it takes the buffer's place.
    #[inline]
    pub fn lend(&mut self, scratch: &mut Scratch) -> Loan {
        match self.kept.take() {
            None => Loan { aside: None, input_is_own: false, output_is_own: false },
            Some(kept) => Self::lend_kept(kept, scratch),
        }
    }

    fn lend_kept(mut kept: Box<Kept>, scratch: &mut Scratch) -> Loan {
        let input_is_own = kept.input.len() > Scratch::INPUT_SIZE / 2;
        if input_is_own {
            std::mem::swap(&mut scratch.input, &mut kept.input);
        } else {
            scratch.input.extend_from_slice(kept.input.filled());
        }
        let output_is_own = !kept.output.is_empty();
        if output_is_own {
            std::mem::swap(&mut scratch.output, &mut kept.output);
        }
        Loan { aside: Some(kept), input_is_own, output_is_own }
    }

    /// Keeps what is left, and puts the shared buffers back.
    #[inline]
    pub fn keep(&mut self, scratch: &mut Scratch, loan: Loan) {
        let is_clean = scratch.input.is_empty() && scratch.output.is_empty();
        if !is_clean || loan.aside.is_some() || has_grown(&scratch.input) {
            self.keep_rest(scratch, loan);
        }
    }

    fn keep_rest(&mut self, scratch: &mut Scratch, mut loan: Loan) {
        let input = keep_input(&mut scratch.input, &mut loan);
        let output = keep_output(&mut scratch.output, &mut loan);
        if input.is_empty() && output.is_empty() {
            return;
        }
        let mut kept = loan.aside.unwrap_or_default();
        *kept = Kept { input, output };
        self.kept = Some(kept);
    }
}

fn has_grown(shared: &Buffer) -> bool {
    shared.capacity() > Scratch::INPUT_SIZE
}

/// The rest of the input, with no more room than it needs unless it is large.
fn keep_input(input: &mut Buffer, loan: &mut Loan) -> Buffer {
    if loan.input_is_own || has_grown(input) {
        let shared = match &mut loan.aside {
            Some(aside) if loan.input_is_own => std::mem::take(&mut aside.input),
            _ => Scratch::default().input,
        };
        let own = std::mem::replace(input, shared);
        let is_large = own.len() > Scratch::INPUT_SIZE / 2 && own.len() > own.capacity() / 4;
        return if is_large { own } else { fitted(&own) };
    }
    let own = fitted(input);
    input.clear();
    own
}

/// A copy with no more room than it needs.
fn fitted(input: &Buffer) -> Buffer {
    let mut own = Buffer::with_capacity(input.len());
    own.extend_from_slice(input.filled());
    own
}

/// The rest of the output.
fn keep_output(output: &mut Output, loan: &mut Loan) -> Output {
    match &mut loan.aside {
        Some(aside) if loan.output_is_own => {
            std::mem::replace(output, std::mem::take(&mut aside.output))
        }
        _ => output.take(),
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
    fn what_is_left_of_much_input_keeps_no_more_room_than_it_needs() {
        let (mut leftover, mut scratch) = (Leftover::default(), Scratch::default());
        work(&mut leftover, &mut scratch, |scratch| {
            scratch.input.extend_from_slice(&vec![1; 1 << 20]);
            scratch.input.consume((1 << 20) - 1);
        });
        let kept = leftover.kept.as_ref().expect("one byte is left over");
        assert!(kept.input.capacity() <= Scratch::INPUT_SIZE, "{}", kept.input.capacity());
    }

    #[test]
    fn the_rest_of_a_message_that_is_large_does_not_keep_the_room_of_a_huge_one() {
        let (mut leftover, mut scratch) = (Leftover::default(), Scratch::default());
        work(&mut leftover, &mut scratch, |scratch| {
            scratch.input.extend_from_slice(&vec![1; 16 << 20]);
            scratch.input.consume((16 << 20) - 100_000);
        });
        let kept = leftover.kept.as_ref().expect("some is left over");
        assert_eq!((kept.input.len(), kept.input.capacity()), (100_000, 100_000));
        work(&mut leftover, &mut scratch, |scratch| {
            assert_eq!(scratch.input.filled(), &vec![1; 100_000]);
            scratch.input.extend_from_slice(&[1; 1000]);
        });
        let kept = leftover.kept.as_ref().expect("more is left over");
        assert!(kept.input.len() == 101_000 && kept.input.capacity() <= 4 * 101_000);
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
            assert!(one.kept.is_none(), "{size} bytes left memory");
            work(&mut two, &mut scratch, |scratch| scratch.input.clear());
        }
    }
}
