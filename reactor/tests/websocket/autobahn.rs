//! Autobahn's suite.
