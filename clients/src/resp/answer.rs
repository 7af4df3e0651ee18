//! Answers that outlive the input.

use protocol::resp::{Item, Value};

/// An answer that owns its bytes, unlike a [`Value`], which borrows from the input.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A null of any kind.
    Null,
    /// A simple string, such as `OK`.
    Simple(Vec<u8>),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Text in a format of three letters (RESP3).
    Verbatim([u8; 3], Vec<u8>),
    /// An integer.
    Integer(i64),
    /// A floating point number (RESP3).
    Double(f64),
    /// The digits of a number of any size (RESP3).
    BigNumber(Vec<u8>),
    /// A truth value (RESP3).
    Boolean(bool),
    /// An error inside of an aggregate, as in the answer to `EXEC`. An error that is the whole
    /// answer is an [`Error`](super::Error).
    Error(Vec<u8>),
    /// Elements in order.
    Array(Vec<Answer>),
    /// Elements of a set, in the order in which they came (RESP3).
    Set(Vec<Answer>),
    /// Keys and values, in the order in which they came (RESP3; an array in RESP2).
    Map(Vec<(Answer, Answer)>),
    /// A push: a message of the server that answers no command (RESP3).
    Push(Vec<Answer>),
}

impl Answer {
    /// Returns the bytes of a string of any kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) | Self::Verbatim(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the text of a string of any kind, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Returns the number of an integer, or of a string that contains one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => other.as_bytes().and_then(protocol::resp::parse_integer),
        }
    }

    /// Returns the elements of an array, a set or a push. Other answers have none.
    pub fn elements(&self) -> &[Answer] {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => elements,
            _ => &[],
        }
    }

    /// Returns the value of `key` in a map, or in an array that represents one, as in RESP2.
    pub fn get(&self, key: &str) -> Option<&Answer> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|pair| pair.0.is(key)).map(|pair| &pair.1),
            other => other.elements().chunks_exact(2).find(|it| it[0].is(key)).map(|it| &it[1]),
        }
    }

    fn is(&self, text: &str) -> bool {
        self.as_bytes() == Some(text.as_bytes())
    }

    /// Returns whether it is a null.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

impl From<Value<'_>> for Answer {
    fn from(value: Value<'_>) -> Self {
        let elements = || value.elements().map(Self::from).collect();
        match value.item() {
            Item::Null | Item::NullArray => Self::Null,
            Item::Simple(text) => Self::Simple(text.to_vec()),
            Item::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Item::Verbatim { format, text } => Self::Verbatim(format, text.to_vec()),
            Item::Integer(number) => Self::Integer(number),
            Item::Double(number) => Self::Double(number),
            Item::BigNumber(digits) => Self::BigNumber(digits.to_vec()),
            Item::Boolean(truth) => Self::Boolean(truth),
            Item::Error(words) | Item::BulkError(words) => Self::Error(words.to_vec()),
            Item::Array(_) => Self::Array(elements()),
            Item::Set(_) => Self::Set(elements()),
            Item::Push(_) => Self::Push(elements()),
            Item::Map(_) => {
                let pairs = value.pairs();
                Self::Map(pairs.map(|(key, value)| (key.into(), value.into())).collect())
            }
        }
    }
}
