//! Names as keys of tables.

use std::ops::Deref;

use protocol::dns::{NAME_SIZE_MAX, NameView};

/// A name in lower case, as a message has it without compression: each label after its length, and the
/// empty label of the root. It is on the stack, so a table is searched without an allocation.
#[derive(Clone)]
pub(in crate::dns) struct LowerName {
    bytes: [u8; NAME_SIZE_MAX],
    size: usize,
}

impl LowerName {
    /// Returns the key of a name.
    pub(in crate::dns) fn new(name: NameView<'_>) -> Self {
        let mut own = Self { bytes: [0; NAME_SIZE_MAX], size: 1 };
        for label in name.labels() {
            let start = own.size;
            own.bytes[start - 1] = label.len() as u8;
            own.bytes[start..start + label.len()].copy_from_slice(label);
            own.size += 1 + label.len();
        }
        // The lengths of labels are below the letters.
        own.bytes[..own.size].make_ascii_lowercase();
        own
    }
}

impl Deref for LowerName {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Returns a name and the names above it, from the longest to the root.
pub(in crate::dns) fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let own = rest?;
        let length = usize::from(*own.first()?);
        rest = if length == 0 { None } else { own.get(1 + length..) };
        Some(own)
    })
}

#[cfg(test)]
mod tests {
    use protocol::dns::Name;

    use super::*;

    #[test]
    fn a_key_is_lower_case_and_its_suffixes_end_with_the_root() {
        let name: Name = "WWW.Example.ORG".parse().expect("a name");
        let lower = LowerName::new(name.view());
        assert_eq!(&*lower, b"\x03www\x07example\x03org\0");
        let found: Vec<&[u8]> = suffixes(&lower).collect();
        assert_eq!(found, [&lower[..], &lower[4..], &lower[12..], &lower[16..]]);
        assert_eq!(&*LowerName::new(Name::root().view()), b"\0");
        assert_eq!(suffixes(b"\0").collect::<Vec<_>>(), [b"\0"]);
    }

    #[test]
    fn the_longest_name_fits() {
        let label = "a".repeat(63);
        let text = [&label[..], &label, &label, &label[..61]].join(".");
        let name: Name = text.parse().expect("255 bytes");
        assert_eq!(LowerName::new(name.view()).len(), NAME_SIZE_MAX);
    }
}
