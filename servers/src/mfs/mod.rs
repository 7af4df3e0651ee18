//! Programs of MooseFS 3.0.117 that the real ones accept.
//!
//! They prove the framework on daemons that work together. They are no file system to keep data in: that
//! is the real MooseFS.

mod arguments;
pub mod chunkserver;
mod files;
pub mod master;
pub mod metalogger;
