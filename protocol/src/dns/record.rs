//! Records of their own, and their text form.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::calendar;
use super::data::{Data, TypeSet};
use super::error::MessageError;
use super::layout::{Part, parts};
use super::message::RecordView;
use super::name::{Name, NameView};
use super::numbers::{Class, RecordType};
use super::params;
use super::text::{TextError, Word, from_base32, from_base64, from_hex, words};

/// The data of a record, of their own: without compression.
#[derive(Clone)]
pub struct RecordData {
    kind: RecordType,
    class: Class,
    bytes: Box<[u8]>,
}

impl RecordData {
    /// Returns the data of an A or AAAA record.
    pub fn address(address: IpAddr) -> Self {
        let (kind, bytes) = match address {
            IpAddr::V4(address) => (RecordType::A, address.octets().as_slice().into()),
            IpAddr::V6(address) => (RecordType::AAAA, address.octets().as_slice().into()),
        };
        Self { kind, class: Class::IN, bytes }
    }

    /// Returns the data of a PTR record.
    pub fn pointer(name: &Name) -> Self {
        Self { kind: RecordType::PTR, class: Class::IN, bytes: name.as_bytes().into() }
    }

    /// Returns the data of a CNAME record.
    pub fn alias(name: &Name) -> Self {
        Self { kind: RecordType::CNAME, class: Class::IN, bytes: name.as_bytes().into() }
    }

    /// Checks bytes as data of class IN, with names that are not compressed.
    ///
    /// # Errors
    /// When they are not data of the type.
    pub fn from_bytes(kind: RecordType, bytes: &[u8]) -> Result<Self, MessageError> {
        Data::parse((kind, Class::IN), bytes, 0, bytes.len()).map(|data| data.to_data())
    }

    /// Reads the text form of data of class IN, such as `10 mail.example.org.` for an MX record.
    ///
    /// # Errors
    /// When the text is not one of the type. The error names the part.
    pub fn from_text(kind: RecordType, text: &str) -> Result<Self, TextError> {
        Self::from_words((kind, Class::IN), &words(text)?)
    }

    /// Returns a view of them.
    pub fn view(&self) -> Data<'_> {
        Data {
            kind: self.kind,
            class: self.class,
            bytes: &self.bytes,
            at: 0,
            end: self.bytes.len(),
        }
    }

    /// Returns how many bytes they have in a message, without compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn from_words(of: (RecordType, Class), words: &[Word]) -> Result<Self, TextError> {
        let (kind, class) = of;
        let bytes = match (words, parts(kind, class)) {
            ([mark, rest @ ..], _) if mark.is_unknown_mark() => unknown(rest)?,
            (_, Some(parts)) => known(parts, words)?,
            ([word, ..], None) => {
                let expected =
                    "\\# (data of a type that is not known, or of another class than IN)";
                return Err(TextError::Invalid { expected, word: word.raw.clone() });
            }
            ([], None) => return Err(TextError::Missing { expected: "\\#" }),
        };
        if bytes.len() > u16::MAX.into() {
            return Err(TextError::TooLong);
        }
        match Data::parse(of, &bytes, 0, bytes.len()) {
            Ok(_) => Ok(Self { kind, class, bytes: bytes.into() }),
            // The forms of the parts are checked already, but not their order, nor data after `\#`.
            Err(_) => Err(TextError::Invalid {
                expected: "valid data of this type",
                word: words.iter().map(|word| word.raw.as_str()).collect::<Vec<_>>().join(" "),
            }),
        }
    }
}

impl PartialEq for RecordData {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for RecordData {}

impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Debug for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.view())
    }
}

impl Data<'_> {
    /// Returns the data of their own.
    pub fn to_data(&self) -> RecordData {
        let mut bytes = Vec::with_capacity(self.end - self.at);
        self.append_to(&mut bytes);
        RecordData { kind: self.kind, class: self.class, bytes: bytes.into() }
    }
}

/// Reads data of an unknown type: their length, and hexadecimal digits in any number of words.
fn unknown(words: &[Word]) -> Result<Vec<u8>, TextError> {
    let expected = "the length of the data in bytes";
    let (length, digits) = words.split_first().ok_or(TextError::Missing { expected })?;
    let size: usize = number(length, expected)?;
    let text: String = digits.iter().map(|word| word.raw.as_str()).collect();
    match from_hex(&text) {
        Some(bytes) if bytes.len() == size => Ok(bytes),
        _ => Err(TextError::Invalid { expected: "as many bytes in hexadecimal", word: text }),
    }
}

/// Reads data of known parts.
fn known(parts: &[Part], words: &[Word]) -> Result<Vec<u8>, TextError> {
    let (mut bytes, mut rest) = (Vec::new(), words);
    for &part in parts {
        rest = append_part(part, rest, &mut bytes)?;
    }
    match rest {
        [] => Ok(bytes),
        [word, ..] => Err(TextError::TooMany { word: word.raw.clone() }),
    }
}

/// Reads a part from the front of `words`. Returns the words after it.
fn append_part<'a>(
    part: Part,
    words: &'a [Word],
    bytes: &mut Vec<u8>,
) -> Result<&'a [Word], TextError> {
    let expected = part.description();
    if part.is_optional() && words.is_empty() {
        return Ok(words);
    }
    let (word, rest) = words.split_first().ok_or(TextError::Missing { expected })?;
    let wrong = |word: &str| TextError::Invalid { expected, word: word.to_owned() };
    match part {
        Part::Name => {
            let name: Name = word.raw.parse().map_err(|_| wrong(&word.raw))?;
            bytes.extend_from_slice(name.as_bytes());
        }
        Part::U8 => bytes.push(number(word, expected)?),
        Part::U16 => bytes.extend(number::<u16>(word, expected)?.to_be_bytes()),
        Part::U32 => bytes.extend(seconds(word, expected)?.to_be_bytes()),
        Part::Type => {
            let kind: RecordType = word.raw.parse().map_err(|_| wrong(&word.raw))?;
            bytes.extend(kind.0.to_be_bytes());
        }
        Part::Time => {
            let time = calendar::parse_time(&word.raw).ok_or_else(|| wrong(&word.raw))?;
            bytes.extend(time.to_be_bytes());
        }
        Part::Ipv4 | Part::Ipv6 => match (word.raw.parse(), part) {
            (Ok(IpAddr::V4(address)), Part::Ipv4) => bytes.extend(address.octets()),
            (Ok(IpAddr::V6(address)), Part::Ipv6) => bytes.extend(address.octets()),
            _ => return Err(wrong(&word.raw)),
        },
        Part::Text | Part::Tag => append_counted(&word.bytes()?, word, expected, bytes)?,
        Part::Rest => bytes.extend(word.bytes()?),
        Part::Salt if word.raw == "-" => bytes.push(0),
        Part::Salt => {
            let salt = from_hex(&word.raw).ok_or_else(|| wrong(&word.raw))?;
            append_counted(&salt, word, expected, bytes)?;
        }
        Part::Hash => {
            let hash = from_base32(&word.raw).ok_or_else(|| wrong(&word.raw))?;
            append_counted(&hash, word, expected, bytes)?;
        }
        Part::Texts => {
            for word in words {
                append_counted(&word.bytes()?, word, expected, bytes)?;
            }
            return Ok(&[]);
        }
        Part::Hex | Part::Base64 => {
            let text: String = words.iter().map(|word| word.raw.as_str()).collect();
            let decode = if part == Part::Hex { from_hex } else { from_base64 };
            bytes.extend(decode(&text).ok_or_else(|| wrong(&text))?);
            return Ok(&[]);
        }
        Part::Types(form) => {
            let kinds: Result<Vec<RecordType>, _> =
                words.iter().map(|word| word.raw.parse().map_err(|_| wrong(&word.raw))).collect();
            let mut kinds = kinds?;
            kinds.sort_unstable();
            let last = kinds.last().map(ToString::to_string).unwrap_or_default();
            TypeSet::append(&kinds, form, bytes).ok_or_else(|| wrong(&last))?;
            return Ok(&[]);
        }
        Part::Params => {
            append_params(words, bytes)?;
            return Ok(&[]);
        }
    }
    Ok(rest)
}

/// Appends parameters of a service in the order of their keys.
fn append_params(words: &[Word], bytes: &mut Vec<u8>) -> Result<(), TextError> {
    let mut all = Vec::new();
    for word in words {
        let text = word.bytes()?;
        let wrong =
            || TextError::Invalid { expected: Part::Params.description(), word: word.raw.clone() };
        let (key, value) = params::parse(&text).ok_or_else(wrong)?;
        let size = u16::try_from(value.len()).map_err(|_| TextError::TooLong)?;
        all.push((key, size, value));
    }
    all.sort_by_key(|(key, ..)| *key);
    for (key, size, value) in all {
        bytes.extend(key.to_be_bytes());
        bytes.extend(size.to_be_bytes());
        bytes.extend(value);
    }
    Ok(())
}

/// Appends the length of `content` and `content`.
fn append_counted(
    content: &[u8],
    word: &Word,
    expected: &'static str,
    bytes: &mut Vec<u8>,
) -> Result<(), TextError> {
    let size = u8::try_from(content.len())
        .map_err(|_| TextError::Invalid { expected, word: word.raw.clone() })?;
    bytes.push(size);
    bytes.extend_from_slice(content);
    Ok(())
}

fn number<N: FromStr>(word: &Word, expected: &'static str) -> Result<N, TextError> {
    let is_number = word.raw.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| word.raw.parse().ok()).flatten();
    number.ok_or_else(|| TextError::Invalid { expected, word: word.raw.clone() })
}

/// Reads a number, or a time such as `1h30m`.
fn seconds(word: &Word, expected: &'static str) -> Result<u32, TextError> {
    let read = || {
        let (mut sum, mut number): (u32, Option<u32>) = (0, None);
        for byte in word.raw.bytes() {
            if byte.is_ascii_digit() {
                let digit = u32::from(byte - b'0');
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            let unit = match byte.to_ascii_lowercase() {
                b's' => 1,
                b'm' => 60,
                b'h' => 3600,
                b'd' => 86_400,
                b'w' => 604_800,
                _ => return None,
            };
            sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
        }
        match number {
            Some(number) => sum.checked_add(number),
            None => (!word.raw.is_empty()).then_some(sum),
        }
    };
    read().ok_or_else(|| TextError::Invalid { expected, word: word.raw.clone() })
}

/// A record of its own.
///
/// ```
/// use protocol::dns::Record;
///
/// let record: Record = "example.org. 1h IN MX 10 mail.example.org.".parse()?;
/// assert_eq!(record.ttl, 3600);
/// assert_eq!(record.to_string(), "example.org. 3600 IN MX 10 mail.example.org.");
/// # Ok::<(), protocol::dns::TextError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name that the record is about.
    pub name: Name,
    /// For how many seconds the record may be kept.
    pub ttl: u32,
    /// The data, which know their type and class.
    pub data: RecordData,
}

impl Record {
    /// Returns a view of it.
    pub fn view(&self) -> RecordView<'_> {
        RecordView {
            name: self.name.view(),
            kind: self.data.kind,
            class: self.data.class,
            ttl: self.ttl,
            data: self.data.view(),
        }
    }
}

impl RecordView<'_> {
    /// Returns the record of its own.
    pub fn to_record(&self) -> Record {
        Record { name: self.name.to_name(), ttl: self.ttl, data: self.data.to_data() }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// The text form, with its parts separated by single spaces: name, TTL, class, type, data.
impl fmt::Display for RecordView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ttl, class, kind, data } = self;
        write!(f, "{name} {ttl} {class} {kind} {data}")
    }
}

/// Reads a line of a zone file as [`Record::from_text`] does. Without a TTL it is zero.
impl FromStr for Record {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::from_text(text, 0)
    }
}

impl Record {
    /// Reads a line of a zone file (RFC 1035 section 5.1): the name, the TTL in seconds and the class in
    /// any order, the type, and the data. Without a TTL it is `default_ttl`, and without a class it is IN.
    /// Names are whole, whether they end with a dot or not.
    ///
    /// # Errors
    /// The word that is wrong or missing.
    pub fn from_text(text: &str, default_ttl: u32) -> Result<Self, TextError> {
        let words = words(text)?;
        let expected = "the name of a record";
        let (first, mut rest) = words.split_first().ok_or(TextError::Missing { expected })?;
        let invalid =
            |expected, word: &Word| TextError::Invalid { expected, word: word.raw.clone() };
        let name: Name = first.raw.parse().map_err(|_| invalid(expected, first))?;
        let (mut ttl, mut class) = (None, None);
        let expected = "a TTL, a class or a record type";
        loop {
            let (word, others) = rest.split_first().ok_or(TextError::Missing { expected })?;
            rest = others;
            if ttl.is_none() && word.raw.starts_with(|first: char| first.is_ascii_digit()) {
                let expected = "a TTL of at most 2147483647 seconds (RFC 2181 section 8)";
                let time = seconds(word, expected)?;
                if time > i32::MAX as u32 {
                    return Err(invalid(expected, word));
                }
                ttl = Some(time);
            } else if let (None, Ok(known)) = (class, word.raw.parse::<Class>())
                && !matches!(known, Class::ANY | Class::NONE)
            {
                class = Some(known);
            } else {
                let kind: RecordType = word.raw.parse().map_err(|_| invalid(expected, word))?;
                if kind.is_meta() {
                    let expected = "a record type that a zone can have";
                    return Err(invalid(expected, word));
                }
                let data = RecordData::from_words((kind, class.unwrap_or(Class::IN)), rest)?;
                return Ok(Self { name, ttl: ttl.unwrap_or(default_ttl), data });
            }
        }
    }
}

/// Returns the name whose PTR record has the name of an address (RFC 1035 section 3.5, RFC 3596 section
/// 2.5).
///
/// ```
/// use protocol::dns::reverse_name;
///
/// let name = reverse_name("192.0.2.7".parse()?);
/// assert_eq!(name.to_string(), "7.2.0.192.in-addr.arpa.");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn reverse_name(address: IpAddr) -> Name {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let digits = address.octets().into_iter().rev();
            let digits = digits.map(|byte| format!("{:x}.{:x}.", byte & 0xf, byte >> 4));
            digits.collect::<String>() + "ip6.arpa."
        }
    };
    text.parse().unwrap_or_else(|_| Name::root())
}

/// Returns the address that the name of a PTR record stands for, if it stands for a whole one.
pub fn address_of(name: NameView<'_>) -> Option<IpAddr> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let ends = |ending: [&str; 2]| {
        let (front, back) = labels.split_at_checked(labels.len().checked_sub(2)?)?;
        let is_there = back.iter().zip(ending).all(|(a, b)| a.eq_ignore_ascii_case(b.as_bytes()));
        is_there.then_some(front)
    };
    let text = |label: &&[u8]| std::str::from_utf8(label).ok().map(str::to_owned);
    if let Some(front) = ends(["in-addr", "arpa"]) {
        let parts: Option<Vec<String>> = front.iter().rev().map(text).collect();
        return parts?.join(".").parse().ok().map(IpAddr::V4);
    }
    let front = ends(["ip6", "arpa"]).filter(|front| front.len() == 32)?;
    let mut bytes = [0u8; 16];
    for (index, label) in front.iter().rev().enumerate() {
        let &[digit] = *label else { return None };
        let digit = char::from(digit).to_digit(16)? as u8;
        bytes[index / 2] |= digit << if index % 2 == 0 { 4 } else { 0 };
    }
    Some(IpAddr::from(bytes))
}
