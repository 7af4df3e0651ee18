//! The chunks on disk. All of it blocks, so threads do it.

mod building;
mod chunk;
mod folder;
pub(crate) mod form;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

pub(crate) use building::Building;
pub(crate) use chunk::{Chunk, Done, Trouble};
pub(crate) use folder::{Folder, Found, Room, SUBFOLDERS};
pub(crate) use reading::{Part, Readout, Spare};
pub(crate) use writing::Written;
