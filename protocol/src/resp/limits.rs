//! What a message may cost.

// Law 6: everything has a limit.

/// What one message may cost, beside [`Limits::message_size_max`](crate::Limits) of the
/// conversation, which bounds all that is kept of an incomplete one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a line may be, in bytes without its end: an inline command, a number that says how
    /// much follows, a simple reply. Default 64 KiB, as in Redis; a server takes more than that
    /// for 64 KiB.
    pub line_size_max: usize,
    /// How long a bulk string may be, in bytes. Default 512 MiB, Redis's `proto-max-bulk-len`. The
    /// conversation's own limit is 1 MiB unless it is raised.
    pub bulk_size_max: usize,
    /// How many arguments a request may have, and how many elements an aggregate (a map of `n`
    /// pairs has `2n`). Default 1,048,576: Redis's limit until 7.0, which takes 2,147,483,647.
    pub elements_max: usize,
    /// How deep aggregates may stand in one another. Default 128: Redis's own replies stay under
    /// ten, and whoever walks a value may recurse.
    pub depth_max: usize,
}

impl Limits {
    /// The defaults, each explained at its field.
    pub const DEFAULT: Self = Self {
        line_size_max: 64 * 1024,
        bulk_size_max: 512 * 1024 * 1024,
        elements_max: 1024 * 1024,
        depth_max: 128,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
