//! Checks for any codec.
