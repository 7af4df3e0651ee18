//! Which form of a file a client gets: `Accept-Encoding` (RFC 9110, section 12.5.3).

/// A form of a file that was compressed beforehand, beside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Zstandard,
    Gzip,
}

impl Encoding {
    /// All of them, the one that compresses best first.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// Returns its name in fields.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Returns what is behind the name of a file in this form.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// A weight in thousandths. `None` if it is not given.
type Weight = Option<u16>;

/// The forms that a client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    weights: [Weight; 3],
    identity: Weight,
    others: Weight,
}

impl Accepted {
    /// Adds a line of the field.
    pub(crate) fn add(&mut self, field: &[u8]) {
        let Ok(text) = str::from_utf8(field) else { return };
        for item in text.split(',') {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let Some(weight) = weight(parameters) else { continue };
            let name = name.trim_matches([' ', '\t']);
            let place = match name {
                "*" => &mut self.others,
                _ if name.eq_ignore_ascii_case("identity") => &mut self.identity,
                _ if name.eq_ignore_ascii_case("x-gzip") => &mut self.weights[2],
                _ => {
                    let is_it = |it: &Encoding| name.eq_ignore_ascii_case(it.name());
                    match Encoding::ALL.iter().position(is_it) {
                        Some(index) => &mut self.weights[index],
                        None => continue,
                    }
                }
            };
            *place = Some(weight);
        }
    }

    /// Returns the best form of those for which `has` is true; `None` for the file as it is. A file
    /// that is refused as it is, is sent like that when there is no other form: a client can make
    /// more of it than of an error.
    pub(crate) fn choose(&self, has: impl Fn(Encoding) -> bool) -> Option<Encoding> {
        // Any form that is accepted is better than the plain one, unless the client weighs that.
        let plain = self.identity.unwrap_or(0);
        let weighed = Encoding::ALL
            .iter()
            .zip(self.weights)
            .map(|(encoding, weight)| (*encoding, weight.or(self.others).unwrap_or(0)));
        let acceptable =
            weighed.filter(|(encoding, weight)| *weight > 0 && *weight >= plain && has(*encoding));
        // Of equal weights, the first.
        let better = |best: (Encoding, u16), next: (Encoding, u16)| {
            if next.1 > best.1 { next } else { best }
        };
        acceptable.reduce(better).map(|(encoding, _)| encoding)
    }
}

/// Reads the parameters of an item: `q=0.5` or none. `None` if they are malformed.
fn weight(parameters: &str) -> Weight {
    let text = parameters.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Some(1000);
    }
    let value = text.strip_prefix("q=").or_else(|| text.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_the_table_gets_the_form_it_says() {
        for (field, has, expected) in [
            ("", "br zstd gzip", "plain"),
            ("gzip", "br zstd gzip", "gzip"),
            ("x-gzip", "gzip", "gzip"),
            ("GZip", "gzip", "gzip"),
            ("gzip", "br", "plain"),
            ("gzip, deflate, br, zstd", "br zstd gzip", "br"),
            ("gzip, deflate, br, zstd", "zstd gzip", "zstd"),
            ("gzip, deflate, br, zstd", "gzip", "gzip"),
            ("gzip, deflate, br, zstd", "", "plain"),
            ("gzip;q=1.0, br;q=0.5", "br gzip", "gzip"),
            ("gzip;q=0.5,br;q=0.501", "br gzip", "br"),
            ("gzip;q=0", "gzip", "plain"),
            ("gzip;q=0.000", "gzip", "plain"),
            ("gzip;q=0.001", "gzip", "gzip"),
            ("*", "zstd gzip", "zstd"),
            ("*;q=0.5, gzip", "br gzip", "gzip"),
            ("br;q=0, *", "br gzip", "gzip"),
            ("*;q=0", "br gzip", "plain"),
            ("*;q=0, gzip", "br gzip", "gzip"),
            ("identity", "br gzip", "plain"),
            ("identity, gzip", "gzip", "gzip"),
            ("identity;q=1, gzip;q=0.5", "gzip", "plain"),
            ("identity;q=0.5, gzip;q=1", "gzip", "gzip"),
            ("identity;q=0, gzip;q=0.1", "gzip", "gzip"),
            ("identity;q=0", "br", "plain"),
            ("gzip ; q=1", "gzip", "gzip"),
            ("gzip;\tq=0.3 , br", "gzip", "gzip"),
            ("gzip;Q=1", "gzip", "gzip"),
            ("gzip;q=2", "gzip", "plain"),
            ("gzip;q=1.001", "gzip", "plain"),
            ("gzip;q=-1", "gzip", "plain"),
            ("gzip;q=", "gzip", "plain"),
            ("gzip;q=0.1234", "gzip", "plain"),
            ("gzip;level=9", "gzip", "plain"),
            ("deflate, compress", "br zstd gzip", "plain"),
            (", ,gzip,", "gzip", "gzip"),
            ("gzipped", "gzip", "plain"),
        ] {
            let mut accepted = Accepted::default();
            accepted.add(field.as_bytes());
            let chosen = accepted.choose(|it| has.split(' ').any(|name| name == it.name()));
            assert_eq!(chosen.map_or("plain", Encoding::name), expected, "{field} of {has}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let mut accepted = Accepted::default();
        accepted.add(b"gzip;q=0.5");
        accepted.add(b"\xff");
        accepted.add(b"br;q=0.4");
        assert_eq!(accepted.choose(|_| true), Some(Encoding::Gzip));
        assert_eq!(accepted.choose(|it| it == Encoding::Brotli), Some(Encoding::Brotli));
    }
}
