//! The Domain Name System: messages, names and records (RFC 1035, RFC 2181, RFC 6891), with the text form
//! of the usual record types.
//!
//! [`Message::parse`] checks a whole message once. What it returns are views: names are compared without
//! being copied, and nothing is allocated. A [`Builder`] makes messages of a limited size, and compresses
//! their names. [`Record`] and [`Name`] are values of their own, for what is kept; both are read from
//! text and written as text. [`OverTcp`] and [`OverUdp`] are codecs.
//!
//! Types that are known: A, AAAA, AFSDB, CAA, CDNSKEY, CDS, CNAME, DNAME, DNSKEY, DS, HINFO, HTTPS, KX, MB,
//! MD, MF, MG, MINFO, MR, MX, NAPTR, NS, NSEC, NSEC3, NSEC3PARAM, NXT, PTR, PX, RP, RRSIG, RT, SIG, SOA, SPF,
//! SRV, SSHFP, SVCB, TLSA, TXT, URI. Others have the form of RFC 3597. Signatures are not verified.
//!
//! # Limits
//!
//! A name has at most [`NAME_SIZE_MAX`] bytes and [`POINTERS_MAX`] compression pointers, each of which points
//! backwards. So reading a message takes a time that its size bounds, whatever its bytes are.

mod builder;
mod calendar;
mod codec;
mod cookie;
mod data;
mod edns;
mod error;
mod header;
mod layout;
mod message;
mod name;
mod numbers;
mod params;
mod record;
mod resolv_conf;
mod text;

pub use builder::{Builder, Full};
pub use codec::{CodecError, OverTcp, OverUdp, Received};
pub use cookie::{CLIENT_COOKIE_SIZE, Cookie, CookieSecret, SERVER_COOKIE_SIZE};
pub use data::{Data, Field, Fields, Soa, TypeSet};
pub use edns::{Edns, append_option, option};
pub use error::{Fault, MessageError};
pub use header::{HEADER_SIZE, Header};
pub use message::{Message, Question, RecordView, Section};
pub use name::{LABEL_SIZE_MAX, Labels, NAME_SIZE_MAX, Name, NameError, NameView, POINTERS_MAX};
pub use numbers::{Class, Opcode, RecordType, ResponseCode, UnknownNumber};
pub use params::Param;
pub use record::{Record, RecordData, address_of, reverse_name};
pub use resolv_conf::name_servers;
pub use text::TextError;

/// The size of a datagram that everyone can receive, in bytes (RFC 1035 section 4.2.1).
pub const UDP_SIZE_MIN: usize = 512;
