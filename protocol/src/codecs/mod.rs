//! Ready codecs.

mod bytes;

pub use bytes::Bytes;
