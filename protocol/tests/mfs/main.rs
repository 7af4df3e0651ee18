//! Messages of MooseFS: the bytes of the real programs, and what holds for all messages.

#![cfg(feature = "mfs")]

mod golden;
mod properties;
