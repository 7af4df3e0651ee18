//! The numbers of a message: record types, classes, operations and response codes.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// The type of a record, or of a question.
///
/// ```
/// use protocol::dns::RecordType;
///
/// assert_eq!("aaaa".parse(), Ok(RecordType::AAAA));
/// assert_eq!(RecordType(65280).to_string(), "TYPE65280");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(pub u16);

impl RecordType {
    /// An IPv4 address (RFC 1035).
    pub const A: Self = Self(1);
    /// A name server of the zone (RFC 1035).
    pub const NS: Self = Self(2);
    /// A mail destination, superseded by MX (RFC 1035).
    pub const MD: Self = Self(3);
    /// A mail forwarder, superseded by MX (RFC 1035).
    pub const MF: Self = Self(4);
    /// The name that this name is an alias of (RFC 1035).
    pub const CNAME: Self = Self(5);
    /// The start of a zone (RFC 1035).
    pub const SOA: Self = Self(6);
    /// The host of a mailbox (RFC 1035).
    pub const MB: Self = Self(7);
    /// A member of a mail group (RFC 1035).
    pub const MG: Self = Self(8);
    /// The new name of a mailbox (RFC 1035).
    pub const MR: Self = Self(9);
    /// The name that belongs to an address (RFC 1035).
    pub const PTR: Self = Self(12);
    /// The processor and the operating system of a host (RFC 1035, RFC 8482).
    pub const HINFO: Self = Self(13);
    /// The mailbox that is responsible for this one, and the one for its errors (RFC 1035).
    pub const MINFO: Self = Self(14);
    /// A mail server (RFC 1035).
    pub const MX: Self = Self(15);
    /// Texts (RFC 1035).
    pub const TXT: Self = Self(16);
    /// The mailbox of the responsible person, and the name of texts about it (RFC 1183).
    pub const RP: Self = Self(17);
    /// A server of an AFS or DCE cell (RFC 1183).
    pub const AFSDB: Self = Self(18);
    /// A host that forwards to this one (RFC 1183).
    pub const RT: Self = Self(21);
    /// A signature of a message (RFC 2931), and of records before RRSIG (RFC 2535).
    pub const SIG: Self = Self(24);
    /// The X.400 name of a mail domain (RFC 2163).
    pub const PX: Self = Self(26);
    /// An IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// The next name of the zone, and the types that this name has, before NSEC (RFC 2535).
    pub const NXT: Self = Self(30);
    /// The host and the port of a service (RFC 2782).
    pub const SRV: Self = Self(33);
    /// A rule that makes other names of a name (RFC 3403).
    pub const NAPTR: Self = Self(35);
    /// A key exchanger (RFC 2230).
    pub const KX: Self = Self(36);
    /// The name that replaces this suffix (RFC 6672).
    pub const DNAME: Self = Self(39);
    /// The options of a message (RFC 6891). It is no record of a zone.
    pub const OPT: Self = Self(41);
    /// The digest of a key of a zone below (RFC 4034).
    pub const DS: Self = Self(43);
    /// The fingerprint of an SSH key (RFC 4255).
    pub const SSHFP: Self = Self(44);
    /// A signature (RFC 4034).
    pub const RRSIG: Self = Self(46);
    /// The next name of the zone, and the types that this name has (RFC 4034).
    pub const NSEC: Self = Self(47);
    /// A key of the zone (RFC 4034).
    pub const DNSKEY: Self = Self(48);
    /// The next hash of a name of the zone, and the types that this name has (RFC 5155).
    pub const NSEC3: Self = Self(50);
    /// How names of the zone are hashed (RFC 5155).
    pub const NSEC3PARAM: Self = Self(51);
    /// The certificate of a service of TLS (RFC 6698).
    pub const TLSA: Self = Self(52);
    /// What a DS record of this zone should be (RFC 7344).
    pub const CDS: Self = Self(59);
    /// What a key of this zone should be (RFC 7344).
    pub const CDNSKEY: Self = Self(60);
    /// The endpoints of a service (RFC 9460).
    pub const SVCB: Self = Self(64);
    /// The endpoints of a service of HTTP (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// A place on the earth (RFC 1876). Its data have the form of RFC 3597.
    pub const LOC: Self = Self(29);
    /// Certificates (RFC 4398). Its data have the form of RFC 3597.
    pub const CERT: Self = Self(37);
    /// Lists of prefixes of addresses (RFC 3123). Its data have the form of RFC 3597.
    pub const APL: Self = Self(42);
    /// A key for IPsec (RFC 4025). Its data have the form of RFC 3597.
    pub const IPSECKEY: Self = Self(45);
    /// The client of DHCP that a name belongs to (RFC 4701). Its data have the form of RFC 3597.
    pub const DHCID: Self = Self(49);
    /// Certificates for S/MIME (RFC 8162). Its data have the form of RFC 3597.
    pub const SMIMEA: Self = Self(53);
    /// The Host Identity Protocol (RFC 8005). Its data have the form of RFC 3597.
    pub const HIP: Self = Self(55);
    /// A key of OpenPGP (RFC 7929). Its data have the form of RFC 3597.
    pub const OPENPGPKEY: Self = Self(61);
    /// What a parent is to copy (RFC 7477). Its data have the form of RFC 3597.
    pub const CSYNC: Self = Self(62);
    /// A digest of a zone (RFC 8976). Its data have the form of RFC 3597.
    pub const ZONEMD: Self = Self(63);
    /// An address of 48 bits of hardware (RFC 7043). Its data have the form of RFC 3597.
    pub const EUI48: Self = Self(108);
    /// An address of 64 bits of hardware (RFC 7043). Its data have the form of RFC 3597.
    pub const EUI64: Self = Self(109);
    /// Senders of mail, superseded by TXT (RFC 7208).
    pub const SPF: Self = Self(99);
    /// A request for the changes of a zone (RFC 1995). Only questions have it.
    pub const IXFR: Self = Self(251);
    /// A request for a whole zone (RFC 5936). Only questions have it.
    pub const AXFR: Self = Self(252);
    /// A question for records of all types (RFC 1035, RFC 8482). Only questions have it.
    pub const ANY: Self = Self(255);
    /// The address of a service (RFC 7553).
    pub const URI: Self = Self(256);
    /// Which authorities may issue certificates (RFC 8659).
    pub const CAA: Self = Self(257);
    /// Any bytes, for experiments (RFC 1035).
    pub const NULL: Self = Self(10);
    /// The services of an address (RFC 1035, not for use by RFC 1123).
    pub const WKS: Self = Self(11);
    /// A number of an X.25 network (RFC 1183).
    pub const X25: Self = Self(19);
    /// An address of OSI (RFC 1706).
    pub const NSAP: Self = Self(22);
    /// A public key (RFC 2535), today of SIG(0) only (RFC 2931).
    pub const KEY: Self = Self(25);
    /// A place on Earth (RFC 1712), which LOC has replaced.
    pub const GPOS: Self = Self(27);
    /// An IPv6 address in parts (RFC 2874, historic by RFC 6563).
    pub const A6: Self = Self(38);
    /// The state of a zone (a draft).
    pub const NINFO: Self = Self(56);
    /// A key for NAPTR (a draft).
    pub const RKEY: Self = Self(57);
    /// Links between trust anchors (a draft).
    pub const TALINK: Self = Self(58);
    /// A node of ILNP (RFC 6742).
    pub const NID: Self = Self(104);
    /// A 32-bit locator of ILNP (RFC 6742).
    pub const L32: Self = Self(105);
    /// A 64-bit locator of ILNP (RFC 6742).
    pub const L64: Self = Self(106);
    /// The name of a locator of ILNP (RFC 6742).
    pub const LP: Self = Self(107);
    /// Visibility and control of applications (a draft).
    pub const AVC: Self = Self(258);
    /// A digital object (a draft).
    pub const DOA: Self = Self(259);
    /// A relay of automatic multicast tunnels (RFC 8777).
    pub const AMTRELAY: Self = Self(260);
    /// A trust anchor (a draft).
    pub const TA: Self = Self(32768);
}

const TYPES: &[(RecordType, &str)] = &[
    (RecordType::A, "A"),
    (RecordType::NS, "NS"),
    (RecordType::MD, "MD"),
    (RecordType::MF, "MF"),
    (RecordType::CNAME, "CNAME"),
    (RecordType::SOA, "SOA"),
    (RecordType::MB, "MB"),
    (RecordType::MG, "MG"),
    (RecordType::MR, "MR"),
    (RecordType::PTR, "PTR"),
    (RecordType::HINFO, "HINFO"),
    (RecordType::MINFO, "MINFO"),
    (RecordType::MX, "MX"),
    (RecordType::TXT, "TXT"),
    (RecordType::RP, "RP"),
    (RecordType::AFSDB, "AFSDB"),
    (RecordType::RT, "RT"),
    (RecordType::SIG, "SIG"),
    (RecordType::PX, "PX"),
    (RecordType::AAAA, "AAAA"),
    (RecordType::NXT, "NXT"),
    (RecordType::SRV, "SRV"),
    (RecordType::NAPTR, "NAPTR"),
    (RecordType::KX, "KX"),
    (RecordType::DNAME, "DNAME"),
    (RecordType::OPT, "OPT"),
    (RecordType::DS, "DS"),
    (RecordType::SSHFP, "SSHFP"),
    (RecordType::RRSIG, "RRSIG"),
    (RecordType::NSEC, "NSEC"),
    (RecordType::DNSKEY, "DNSKEY"),
    (RecordType::NSEC3, "NSEC3"),
    (RecordType::NSEC3PARAM, "NSEC3PARAM"),
    (RecordType::TLSA, "TLSA"),
    (RecordType::CDS, "CDS"),
    (RecordType::CDNSKEY, "CDNSKEY"),
    (RecordType::SVCB, "SVCB"),
    (RecordType::HTTPS, "HTTPS"),
    (RecordType::LOC, "LOC"),
    (RecordType::CERT, "CERT"),
    (RecordType::APL, "APL"),
    (RecordType::IPSECKEY, "IPSECKEY"),
    (RecordType::DHCID, "DHCID"),
    (RecordType::SMIMEA, "SMIMEA"),
    (RecordType::HIP, "HIP"),
    (RecordType::OPENPGPKEY, "OPENPGPKEY"),
    (RecordType::CSYNC, "CSYNC"),
    (RecordType::ZONEMD, "ZONEMD"),
    (RecordType::EUI48, "EUI48"),
    (RecordType::EUI64, "EUI64"),
    (RecordType::SPF, "SPF"),
    (RecordType::IXFR, "IXFR"),
    (RecordType::AXFR, "AXFR"),
    (RecordType::ANY, "ANY"),
    (RecordType::URI, "URI"),
    (RecordType::CAA, "CAA"),
    (RecordType::NULL, "NULL"),
    (RecordType::WKS, "WKS"),
    (RecordType::X25, "X25"),
    (RecordType::NSAP, "NSAP"),
    (RecordType::KEY, "KEY"),
    (RecordType::GPOS, "GPOS"),
    (RecordType::A6, "A6"),
    (RecordType::NINFO, "NINFO"),
    (RecordType::RKEY, "RKEY"),
    (RecordType::TALINK, "TALINK"),
    (RecordType::NID, "NID"),
    (RecordType::L32, "L32"),
    (RecordType::L64, "L64"),
    (RecordType::LP, "LP"),
    (RecordType::AVC, "AVC"),
    (RecordType::DOA, "DOA"),
    (RecordType::AMTRELAY, "AMTRELAY"),
    (RecordType::TA, "TA"),
];

/// The class of a record, or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u16);

impl Class {
    /// The Internet.
    pub const IN: Self = Self(1);
    /// Chaosnet. Today it names questions about a server itself.
    pub const CH: Self = Self(3);
    /// Hesiod.
    pub const HS: Self = Self(4);
    /// No class, in updates (RFC 2136).
    pub const NONE: Self = Self(254);
    /// All classes.
    pub const ANY: Self = Self(255);
}

const CLASSES: &[(Class, &str)] = &[
    (Class::IN, "IN"),
    (Class::CH, "CH"),
    (Class::HS, "HS"),
    (Class::NONE, "NONE"),
    (Class::ANY, "ANY"),
];

/// The operation that a message requests (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opcode(pub(super) u8);

impl Opcode {
    /// A question.
    pub const QUERY: Self = Self(0);
    /// A question about the state of a server.
    pub const STATUS: Self = Self(2);
    /// A zone has changed (RFC 1996).
    pub const NOTIFY: Self = Self(4);
    /// A change of a zone (RFC 2136).
    pub const UPDATE: Self = Self(5);
}

const OPCODES: &[(Opcode, &str)] = &[
    (Opcode::QUERY, "QUERY"),
    (Opcode::STATUS, "STATUS"),
    (Opcode::NOTIFY, "NOTIFY"),
    (Opcode::UPDATE, "UPDATE"),
];

/// The result of a request (RFC 1035 section 4.1.1): the 4 bits of the header, and 8 more of an OPT
/// record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResponseCode(pub u16);

impl ResponseCode {
    /// No error. There may be no record of the type.
    pub const NOERROR: Self = Self(0);
    /// The server cannot read the question.
    pub const FORMERR: Self = Self(1);
    /// The server has failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The server does not implement the operation.
    pub const NOTIMP: Self = Self(4);
    /// The server refuses to answer.
    pub const REFUSED: Self = Self(5);
    /// The version of EDNS is not supported (RFC 6891).
    pub const BADVERS: Self = Self(16);
    /// The cookie is missing or wrong (RFC 7873).
    pub const BADCOOKIE: Self = Self(23);
}

const RESPONSE_CODES: &[(ResponseCode, &str)] = &[
    (ResponseCode::NOERROR, "NOERROR"),
    (ResponseCode::FORMERR, "FORMERR"),
    (ResponseCode::SERVFAIL, "SERVFAIL"),
    (ResponseCode::NXDOMAIN, "NXDOMAIN"),
    (ResponseCode::NOTIMP, "NOTIMP"),
    (ResponseCode::REFUSED, "REFUSED"),
    (ResponseCode::BADVERS, "BADVERS"),
    (ResponseCode::BADCOOKIE, "BADCOOKIE"),
];

/// Writes the text of a number, or `prefix` and the number if it has none (RFC 3597 section 5).
fn write_number<N: Copy + PartialEq>(
    f: &mut fmt::Formatter<'_>,
    known: &[(N, &str)],
    own: N,
    prefix: &str,
    value: u16,
) -> fmt::Result {
    match known.iter().find(|(number, _)| *number == own) {
        Some((_, text)) => f.pad(text),
        None => f.pad(&format!("{prefix}{value}")),
    }
}

/// Reads the text of a number.
fn read_number<N: Copy>(known: &[(N, &str)], text: &str, prefix: &str) -> Option<Result<N, u16>> {
    if let Some((number, _)) = known.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
        return Some(Ok(*number));
    }
    let (start, digits) = text.split_at_checked(prefix.len())?;
    let is_number =
        start.eq_ignore_ascii_case(prefix) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().map(Err)
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_number(f, TYPES, *self, "TYPE", self.0)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_number(f, CLASSES, *self, "CLASS", self.0)
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_number(f, OPCODES, *self, "OPCODE", self.0.into())
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_number(f, RESPONSE_CODES, *self, "RCODE", self.0)
    }
}

impl FromStr for RecordType {
    type Err = UnknownNumber;

    fn from_str(text: &str) -> Result<Self, UnknownNumber> {
        let number = read_number(TYPES, text, "TYPE")
            .ok_or(UnknownNumber { what: "record type", by_number: "TYPE65280" })?;
        Ok(number.unwrap_or_else(Self))
    }
}

impl FromStr for Class {
    type Err = UnknownNumber;

    fn from_str(text: &str) -> Result<Self, UnknownNumber> {
        let number = read_number(CLASSES, text, "CLASS")
            .ok_or(UnknownNumber { what: "class", by_number: "CLASS65280" })?;
        Ok(number.unwrap_or_else(Self))
    }
}

/// A text names no record type, or no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownNumber {
    what: &'static str,
    /// How one is named by its number.
    by_number: &'static str,
}

impl fmt::Display for UnknownNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, by_number } = self;
        write!(f, "this is no {what} that is known; any can be named by its number, as {by_number}")
    }
}

impl Error for UnknownNumber {}

impl RecordType {
    /// Returns whether only questions and messages have this type, and no zone does (RFC 6895 section
    /// 3.1).
    pub const fn is_meta(self) -> bool {
        matches!(self.0, 41 | 128..=255)
    }
}
