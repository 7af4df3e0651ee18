//! The programs of MooseFS, against the real ones and against scripts.

mod program;
mod real;
mod scripted;
