//! Names of commands, for errors.

/// The name of a command, for errors. A long name is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    bytes: [u8; Self::SIZE_MAX],
    length: usize,
}

impl Name {
    const SIZE_MAX: usize = 23;

    pub(super) fn new(name: &[u8]) -> Self {
        let length = name.len().min(Self::SIZE_MAX);
        let mut bytes = [0; Self::SIZE_MAX];
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length }
    }

    pub(super) fn text(&self) -> String {
        self.bytes[..self.length].escape_ascii().to_string().to_uppercase()
    }
}
