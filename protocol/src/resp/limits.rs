//! The limits of one message.

// Law 6: everything has a limit.

/// The limits of one message. [`Limits::message_size_max`](crate::Limits) of the conversation also
/// bounds how much of an incomplete message is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest line, in bytes without its end: an inline command, a length, a simple reply.
    /// Default 64 KiB, as in Redis. A server treats a larger value as 64 KiB.
    pub line_size_max: usize,
    /// The largest bulk string, in bytes. Default 512 MiB, as `proto-max-bulk-len` of Redis. The
    /// limit of the conversation is 1 MiB unless it is raised.
    pub bulk_size_max: usize,
    /// The most arguments of a request, and the most elements of an aggregate (a map of `n` pairs
    /// has `2n`). Default 1,048,576, the limit of Redis before 7.0, which allows 2,147,483,647.
    pub elements_max: usize,
    /// How deep aggregates may be nested. Default 128: replies of Redis stay under ten, and code
    /// that walks a value may recurse.
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
