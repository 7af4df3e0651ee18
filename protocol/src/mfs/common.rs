//! Messages that several kinds of programs send.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{Name, Rest, Version};

/// A sign of life. Between the master and clients it has four zero bytes; elsewhere its body is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nop {
    /// The zero bytes of clients and to them.
    pub padding: Option<u32>,
}

impl<'a> Record<'a> for Nop {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("padding", &mut self.padding)
    }
}

impl<'a> Message<'a> for Nop {
    const KIND: Kind = Kind::NOP;
}

/// Asks a program for its version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetVersion {
    /// The number of the question. The answer has it too.
    pub number: Option<u32>,
}

impl<'a> Record<'a> for GetVersion {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("number", &mut self.number)
    }
}

impl<'a> Message<'a> for GetVersion {
    const KIND: Kind = Kind::GET_VERSION;
}

/// The version of a program. If the question had a number, this message is in a
/// [`Numbered`](super::Numbered).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionAnswer<'a> {
    /// The version.
    pub version: Version,
    /// The version as a text, such as `3.0.117-1`.
    pub text: Rest<'a>,
}

impl<'a> Record<'a> for VersionAnswer<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("text", &mut self.text)
    }
}

impl<'a> Message<'a> for VersionAnswer<'a> {
    const KIND: Kind = Kind::VERSION;
}

/// Asks a program for an option of its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetConfig<'a> {
    /// The number of the question.
    pub number: u32,
    /// The name of the option.
    pub option: Name<'a>,
}

impl<'a> Record<'a> for GetConfig<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("number", &mut self.number)?;
        pass.field("option", &mut self.option)
    }
}

impl<'a> Message<'a> for GetConfig<'a> {
    const KIND: Kind = Kind::GET_CONFIG;
}

/// An option of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigValue<'a> {
    /// The number of the question.
    pub number: u32,
    /// The value.
    pub value: Name<'a>,
}

impl<'a> Record<'a> for ConfigValue<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("number", &mut self.number)?;
        pass.field("value", &mut self.value)
    }
}

impl<'a> Message<'a> for ConfigValue<'a> {
    const KIND: Kind = Kind::CONFIG_VALUE;
}
