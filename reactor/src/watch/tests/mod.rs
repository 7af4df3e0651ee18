//! The state of a watch is that of the file system, whatever events are lost.

mod mirror;
mod moves;
mod random;
mod roots;
mod settled;
