//! Against hickory-proto, another implementation: both accept the same messages, and read the same.
