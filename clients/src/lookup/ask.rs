//! What is asked: a name, a type and a class.

use std::fmt;
use std::net::IpAddr;

use protocol::dns::{
    Builder, Class, Edns, Full, Header, Name, RecordType, append_option, option, reverse_name,
};

use super::options::Options;

/// The longest question, with its OPT record, in bytes.
const SIZE_MAX: usize = 512;

/// A question without its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// The name that is asked about.
    pub(super) name: Name,
    /// The type of the records that are wanted.
    pub(super) kind: RecordType,
    /// Their class.
    pub(super) class: Class,
}

/// The parts of a question that words have given so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    name: Option<Name>,
    kind: Option<RecordType>,
    class: Option<Class>,
}

impl Parts {
    /// Takes a word as `dig` does: as a type or a class if it is the name of one, and as a name
    /// otherwise.
    ///
    /// # Errors
    /// When the word is no name, or there is a second one.
    pub(super) fn take(&mut self, word: &str) -> Result<(), String> {
        if let Ok(kind) = word.parse() {
            self.set_kind(kind)
        } else if let Ok(class) = word.parse() {
            self.class = Some(class);
            Ok(())
        } else {
            self.set_name(word)
        }
    }

    /// Sets the name, whatever it looks like.
    ///
    /// # Errors
    /// When the text is no name, or there is a name already.
    pub(super) fn set_name(&mut self, text: &str) -> Result<(), String> {
        if !text.is_ascii() {
            return Err(format!(
                "the name {text:?} is not ASCII: write it in its encoded form, as xn--bcher-kva.example"
            ));
        }
        let name = text.parse().map_err(|error| format!("{text:?} is no name: {error}"))?;
        self.set(name)
    }

    /// Asks for the name of an address.
    ///
    /// # Errors
    /// When the text is no address, or there is a name already.
    pub(super) fn set_address(&mut self, text: &str) -> Result<(), String> {
        let address: IpAddr =
            text.parse().map_err(|_| format!("{text:?} is no IPv4 or IPv6 address"))?;
        self.kind = self.kind.or(Some(RecordType::PTR));
        self.set(reverse_name(address))
    }

    fn set(&mut self, name: Name) -> Result<(), String> {
        match &self.name {
            Some(first) => Err(format!(
                "{first} and {name} are two names: -f asks several questions, one on each line; \
                 a record type whose name is not known here is written as TYPE and its number"
            )),
            None => {
                self.name = Some(name);
                Ok(())
            }
        }
    }

    /// Sets the type.
    ///
    /// # Errors
    /// When it is one of zone transfers, which are other messages.
    pub(super) fn set_kind(&mut self, kind: RecordType) -> Result<(), String> {
        if matches!(kind, RecordType::AXFR | RecordType::IXFR) {
            return Err(format!("{kind} is a zone transfer, which lookup does not do"));
        }
        self.kind = Some(kind);
        Ok(())
    }

    /// Sets the class.
    pub(super) fn set_class(&mut self, class: Class) {
        self.class = Some(class);
    }

    /// Returns whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() && self.kind.is_none() && self.class.is_none()
    }

    /// Returns the question: by default, for the addresses of a name (A), and without a name, for the
    /// servers of the root (NS).
    pub(super) fn finish(self) -> Ask {
        let usual = if self.name.is_some() { RecordType::A } else { RecordType::NS };
        Ask {
            name: self.name.unwrap_or_else(Name::root),
            kind: self.kind.unwrap_or(usual),
            class: self.class.unwrap_or(Class::IN),
        }
    }
}

impl Ask {
    /// Reads a line of a file of questions: a name, a type and a class in any order, or `-x` and an
    /// address. Returns `None` for an empty line. A word that begins with `#` or `;` begins a comment.
    ///
    /// # Errors
    /// When the line has another form.
    pub(super) fn of_line(line: &str) -> Result<Option<Self>, String> {
        let words = line.split_whitespace().take_while(|word| !word.starts_with(['#', ';']));
        let (mut parts, mut words) = (Parts::default(), words);
        while let Some(word) = words.next() {
            match word {
                "-x" => parts.set_address(words.next().unwrap_or_default())?,
                _ if word.starts_with(['+', '@']) => {
                    return Err(format!(
                        "{word:?}: options and servers belong to the command line"
                    ));
                }
                _ => parts.take(word)?,
            }
        }
        Ok((!parts.is_empty()).then(|| parts.finish()))
    }

    /// Returns the message that asks for `name`, which is the name of the question in any case of its
    /// letters. `cookie` is the content of the option, if one is sent.
    ///
    /// # Errors
    /// When the message is too long, which no name makes it.
    pub(super) fn message(
        &self,
        id: u16,
        name: &Name,
        options: &Options,
        cookie: &[u8],
    ) -> Result<Vec<u8>, Full> {
        let header = Header {
            recursion_desired: options.recursion_desired,
            is_authentic: options.authentic_data,
            checking_disabled: options.checking_disabled,
            ..Header::question(id)
        };
        let mut builder = Builder::new(header, SIZE_MAX);
        builder.question(name.view(), self.kind, self.class)?;
        if let Some(size) = options.edns_size {
            let mut bytes = Vec::new();
            if options.name_server_id {
                append_option(option::NSID, &[], &mut bytes);
            }
            if options.cookie {
                append_option(option::COOKIE, cookie, &mut bytes);
            }
            let mut edns = Edns::new(size).with_options(&bytes).map_err(|_| Full)?;
            edns.dnssec_ok = options.dnssec_ok;
            builder.edns(&edns)?;
        }
        Ok(builder.finish())
    }
}

/// The name, the class and the type.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.class, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_words_in_any_order() {
        let read = |line| Ask::of_line(line).map(|ask| ask.map(|ask| ask.to_string()));
        for (line, expected) in [
            ("example.org", "example.org. IN A"),
            ("  example.org\tMX ", "example.org. IN MX"),
            ("txt ch version.bind", "version.bind. CH TXT"),
            ("example.org TYPE65", "example.org. IN HTTPS"),
            ("-x 192.0.2.1", "1.2.0.192.in-addr.arpa. IN PTR"),
            ("ANY -x 192.0.2.1", "1.2.0.192.in-addr.arpa. IN ANY"),
            ("SOA", ". IN SOA"),
            ("a.example MX # tail", "a.example. IN MX"),
            ("a.example LOC ;tail", "a.example. IN LOC"),
            ("\\#a.example", "#a.example. IN A"),
            (".", ". IN A"),
        ] {
            assert_eq!(read(line), Ok(Some(expected.to_owned())), "{line}");
        }
        for line in ["", "  ", "# example.org", ";example.org", "  # indented", "\t;"] {
            assert_eq!(read(line), Ok(None), "{line:?}");
        }
        for (line, part) in [
            ("a.example b.example", "two names"),
            ("a..example", "empty"),
            ("-x", "no IPv4"),
            ("-x 192.0.2", "no IPv4"),
            ("a.example @192.0.2.1", "command line"),
            ("a.example AXFR", "zone transfer"),
            ("b\u{fc}cher.example", "xn--"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(part), "{error}");
        }
    }
}
