//! The programs of MooseFS, against the real ones and against scripts.

mod chunkserver;
mod master;
mod program;
mod real;
mod scripted;
mod wire;
