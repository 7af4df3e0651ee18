//! Of which parts the data of each record type consists.

use super::data::SetForm;
use super::numbers::{Class, RecordType};

/// A part of the data of a record. It determines both the bytes and the text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A domain name. It may be compressed when it is received (RFC 3597 section 4).
    Name,
    /// A number of one byte.
    U8,
    /// A number of two bytes.
    U16,
    /// A number of four bytes.
    U32,
    /// The number of a record type.
    Type,
    /// A moment, in seconds since 1970 modulo 2^32, as `YYYYMMDDHHmmSS` (RFC 4034 section 3.2).
    Time,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A text of at most 255 bytes, after its length.
    Text,
    /// Texts up to the end, at least one.
    Texts,
    /// The tag of a property: letters and digits, after their number (RFC 8659 section 4.1).
    Tag,
    /// A text up to the end, without its length.
    Rest,
    /// Bytes up to the end, at least one, in hexadecimal.
    Hex,
    /// Bytes up to the end, at least one, in Base64.
    Base64,
    /// Bytes after their number, in hexadecimal, or a hyphen (RFC 5155 section 3.3).
    Salt,
    /// Bytes after their number, in Base32 for names (RFC 5155 section 3.3).
    Hash,
    /// A set of record types up to the end.
    Types(SetForm),
    /// Parameters of a service up to the end (RFC 9460 section 2.2).
    Params,
}

/// Returns the parts of the data of a type, or `None` if the type is unknown: then the data are bytes
/// (RFC 3597). Addresses have another form in other classes (RFC 1035 section 3.4).
pub(super) fn parts(kind: RecordType, class: Class) -> Option<&'static [Part]> {
    use Part::*;
    Some(match kind {
        RecordType::A | RecordType::AAAA if class != Class::IN => return None,
        RecordType::A => &[Ipv4],
        RecordType::AAAA => &[Ipv6],
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => &[Name],
        RecordType::MD | RecordType::MF => &[Name],
        RecordType::MB | RecordType::MG | RecordType::MR => &[Name],
        RecordType::MINFO | RecordType::RP => &[Name, Name],
        RecordType::SOA => &[Name, Name, U32, U32, U32, U32, U32],
        RecordType::MX | RecordType::AFSDB | RecordType::RT | RecordType::KX => &[U16, Name],
        RecordType::PX => &[U16, Name, Name],
        RecordType::TXT | RecordType::SPF => &[Texts],
        RecordType::HINFO => &[Text, Text],
        RecordType::SRV => &[U16, U16, U16, Name],
        RecordType::NAPTR => &[U16, U16, Text, Text, Text, Name],
        RecordType::DS | RecordType::CDS => &[U16, U8, U8, Hex],
        RecordType::DNSKEY | RecordType::CDNSKEY => &[U16, U8, U8, Base64],
        RecordType::RRSIG | RecordType::SIG => &[Type, U8, U8, U32, Time, Time, U16, Name, Base64],
        RecordType::NSEC => &[Name, Types(SetForm::Windows)],
        RecordType::NXT => &[Name, Types(SetForm::Bits)],
        RecordType::NSEC3 => &[U8, U8, U16, Salt, Hash, Types(SetForm::Windows)],
        RecordType::NSEC3PARAM => &[U8, U8, U16, Salt],
        RecordType::SSHFP => &[U8, U8, Hex],
        RecordType::TLSA => &[U8, U8, U8, Hex],
        RecordType::SVCB | RecordType::HTTPS => &[U16, Name, Params],
        RecordType::URI => &[U16, U16, Rest],
        RecordType::CAA => &[U8, Tag, Rest],
        _ => return None,
    })
}

/// Returns whether names in the data of a type may be compressed when they are sent: only in those that
/// every server knows, since RFC 1035 has them (RFC 3597 section 4).
pub(super) const fn is_compressible(kind: RecordType) -> bool {
    matches!(kind.0, 2..=9 | 12 | 14 | 15)
}

impl Part {
    /// Returns what the part is, for errors in a text.
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Name => "a domain name",
            Self::U8 => "a number up to 255",
            Self::U16 => "a number up to 65535",
            Self::U32 => "a number up to 4294967295, or a time such as 1h30m",
            Self::Type => "a record type",
            Self::Time => "a time as YYYYMMDDHHmmSS",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
            Self::Text | Self::Texts => "a text of at most 255 bytes",
            Self::Tag => "a tag of letters and digits",
            Self::Rest => "a text",
            Self::Hex => "bytes in hexadecimal",
            Self::Base64 => "bytes in Base64",
            Self::Salt => "a salt in hexadecimal, or a hyphen",
            Self::Hash => "a hash in Base32",
            Self::Types(SetForm::Windows) => "record types",
            Self::Types(SetForm::Bits) => "record types with numbers from 1 to 127",
            Self::Params => "a parameter such as port=443 or alpn=h2,h3",
        }
    }

    /// Returns whether the part may be empty, and then has no text.
    pub(super) const fn is_optional(self) -> bool {
        matches!(self, Self::Types(_) | Self::Params)
    }
}
