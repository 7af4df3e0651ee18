//! What messages consist of, and the three things that are done with a field: it is read, appended and
//! shown.

use std::fmt;

use super::error::Fault;

/// A value in the body of a packet. All numbers are in network order.
pub trait Field<'a>: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// When the body ends before it, or it is invalid.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault>;

    /// Appends the value to a body.
    fn append(&self, body: &mut Vec<u8>);

    /// Writes the value as a log has it.
    ///
    /// # Errors
    /// Those of the formatter.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// What goes through the fields of a record, in their order.
pub trait Pass<'a> {
    /// Does with a field what this pass is for.
    ///
    /// # Errors
    /// What is wrong with the field.
    fn field<F: Field<'a>>(&mut self, name: &'static str, field: &mut F) -> Result<(), Fault>;
}

/// A value that consists of named fields. One function describes them; reading, appending and showing
/// all follow it, so they cannot differ.
///
/// ```
/// use protocol::mfs::{Fault, Pass, Record};
///
/// #[derive(Clone, Default)]
/// struct Range {
///     offset: u64,
///     size: u32,
/// }
///
/// impl<'a> Record<'a> for Range {
///     fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
///         pass.field("offset", &mut self.offset)?;
///         pass.field("size", &mut self.size)
///     }
/// }
/// ```
pub trait Record<'a>: Clone + Default {
    /// Passes over the fields.
    ///
    /// # Errors
    /// What is wrong with one of them.
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault>;
}

impl<'a, R: Record<'a>> Field<'a> for R {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let mut record = R::default();
        record.fields(reader)?;
        Ok(record)
    }

    fn append(&self, body: &mut Vec<u8>) {
        // Appending fails at nothing.
        let _ = self.clone().fields(&mut Appending { body });
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut showing = Showing { f, is_first: true };
        self.clone().fields(&mut showing).map_err(|_| fmt::Error)
    }
}

/// Reads the body of a packet from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The field that is being read, for errors.
    name: &'static str,
}

impl<'a> Reader<'a> {
    /// Returns a reader of a body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, name: "body" }
    }

    /// Returns how many bytes are left.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Returns what is left, without reading it.
    pub const fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the name of the field that was read last.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads `count` bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`] if there are fewer.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads an array of bytes.
    ///
    /// # Errors
    /// [`Fault::Truncated`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'a> Pass<'a> for Reader<'a> {
    fn field<F: Field<'a>>(&mut self, name: &'static str, field: &mut F) -> Result<(), Fault> {
        self.name = name;
        *field = F::read(self)?;
        Ok(())
    }
}

struct Appending<'a> {
    body: &'a mut Vec<u8>,
}

impl<'a> Pass<'a> for Appending<'_> {
    fn field<F: Field<'a>>(&mut self, _: &'static str, field: &mut F) -> Result<(), Fault> {
        field.append(self.body);
        Ok(())
    }
}

struct Showing<'f, 'g> {
    f: &'f mut fmt::Formatter<'g>,
    is_first: bool,
}

impl<'a> Pass<'a> for Showing<'_, '_> {
    fn field<F: Field<'a>>(&mut self, name: &'static str, field: &mut F) -> Result<(), Fault> {
        let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
        write!(self.f, "{space}{name}=").and_then(|()| field.show(self.f)).map_err(|_| Fault::Text)
    }
}

impl<'a> Field<'a> for u8 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array().map(Self::from_be_bytes)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.push(*self);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Field<'a> for u16 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array().map(Self::from_be_bytes)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Field<'a> for u32 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array().map(Self::from_be_bytes)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> Field<'a> for u64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array().map(Self::from_be_bytes)
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.to_be_bytes());
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An array of bytes is a digest or a random value, and no log has its content.
impl<'a, const N: usize> Field<'a> for [u8; N] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        reader.array()
    }

    fn append(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self);
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({N} bytes)")
    }
}

/// An optional field is there if anything follows, so only the end of a body can have one.
impl<'a, F: Field<'a>> Field<'a> for Option<F> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.left() == 0 { Ok(None) } else { F::read(reader).map(Some) }
    }

    fn append(&self, body: &mut Vec<u8>) {
        if let Some(field) = self {
            field.append(body);
        }
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(field) => field.show(f),
            None => f.write_str("-"),
        }
    }
}
