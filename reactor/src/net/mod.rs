//! Sockets: addresses, listeners and connections, and the only parts that know `protocol`.

pub(crate) mod abstract_name;
pub(crate) mod acceptor;
pub(crate) mod address;
pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod credentials;
pub(crate) mod datagram_socket;
pub(crate) mod datagrams;
pub(crate) mod inherited;
pub(crate) mod listener;
pub(crate) mod location;
pub(crate) mod options;
pub(crate) mod resolver;
pub(crate) mod socket_file;
pub(crate) mod stream;
pub(crate) mod taking;
