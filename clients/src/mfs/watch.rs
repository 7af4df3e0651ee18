//! What a caller learns of a transfer while it goes on.

/// Watches a transfer. `()` watches nothing.
pub trait Watch {
    /// So many bytes are done.
    fn moved(&mut self, done: u64) {
        let _ = done;
    }

    /// Something has failed, and is done in another way: a sentence.
    fn trouble(&mut self, text: &str) {
        let _ = text;
    }

    /// Returns whether the transfer is to end. It is asked twice a second at least.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Watch for () {}
