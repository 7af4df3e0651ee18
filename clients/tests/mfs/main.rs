//! `mfs-client` and its library, against the real programs and against scripts.

mod peers;
mod program;
mod reading;
mod real;
mod sessions;
mod writing;
