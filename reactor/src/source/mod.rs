//! Sources of events: registrations, their readiness, and what a handler is lent.

pub(crate) mod adoption;
pub(crate) mod callbacks;
pub(crate) mod cx;
pub(crate) mod handler;
mod hooked;
pub(crate) mod loop_cx;
mod operations;
pub(crate) mod passing;
pub(crate) mod readiness;
pub(crate) mod registration;
pub(crate) mod table;
pub(crate) mod token;
mod urgent;
pub(crate) mod wall;
pub(crate) mod watching;
