//! Agreeing on compression (RFC 7692 sections 5 and 7.1).

use super::deflate::Agreed;
use super::options::{Deflate, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The smallest window that RFC 7692 knows.
const BITS_MIN: u8 = 8;

/// The parameters of an offer or an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The outer option: whether it is there. The inner one: its value, which an offer may leave out.
    client_max_window_bits: Option<Option<u8>>,
}

/// Splits text at a separator that is not in a quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |it| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match it {
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        it == separator && !is_quoted
    })
    .map(|part| part.trim_matches([' ', '\t']))
}

/// Reads one extension: its name, and the rest of it.
fn name_of(extension: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut parts = split(extension, ';');
    (parts.next().unwrap_or_default(), parts)
}

/// Reads a number of bits. It may be quoted, and has no leading zero.
fn bits_of(value: &str) -> Option<u8> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = inner.unwrap_or(value);
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    let bits: u8 = value.parse().ok().filter(|_| is_plain)?;
    (BITS_MIN..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

impl Parameters {
    /// Reads parameters. An unknown one, one that comes twice or one with a wrong value makes all of
    /// them invalid (section 7.1).
    fn read<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut all = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (part, None),
            };
            let is_new = match (name, value) {
                ("server_no_context_takeover", None) => {
                    !std::mem::replace(&mut all.server_no_context_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    !std::mem::replace(&mut all.client_no_context_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    all.server_max_window_bits.replace(bits_of(value)?).is_none()
                }
                ("client_max_window_bits", value) => {
                    let bits = match value {
                        Some(value) => Some(bits_of(value)?),
                        None => None,
                    };
                    all.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(all)
    }
}

/// Returns the bits of a window that zlib knows.
fn known(bits: u8) -> u8 {
    bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
}

/// Takes the first offer of a client that a server can agree to. Returns what is agreed and the
/// answer. Other extensions and invalid offers are declined, as the RFC prescribes.
pub(super) fn accept<'a>(
    values: impl Iterator<Item = &'a str>,
    deflate: &Deflate,
) -> Option<(Agreed, String)> {
    let mut offers = values.flat_map(|value| split(value, ','));
    offers.find_map(|offer| {
        let (name, parameters) = name_of(offer);
        let parameters = Parameters::read(parameters).filter(|_| is_name(name))?;
        Some(answer(parameters, deflate))
    })
}

fn is_name(name: &str) -> bool {
    name.eq_ignore_ascii_case(NAME)
}

/// Returns what a server answers to an offer.
fn answer(offer: Parameters, deflate: &Deflate) -> (Agreed, String) {
    let wanted = known(deflate.window_bits);
    let peer_bits = match offer.client_max_window_bits {
        Some(hint) => hint.unwrap_or(WINDOW_BITS_MAX).min(known(deflate.peer_window_bits)),
        None => WINDOW_BITS_MAX,
    };
    let agreed = Agreed {
        takeover: deflate.context_takeover && !offer.server_no_context_takeover,
        bits: offer.server_max_window_bits.map_or(wanted, |bits| bits.min(wanted)),
        peer_takeover: deflate.peer_context_takeover && !offer.client_no_context_takeover,
        peer_bits,
    };
    let mut text = NAME.to_owned();
    if !agreed.takeover {
        text.push_str("; server_no_context_takeover");
    }
    if !agreed.peer_takeover {
        text.push_str("; client_no_context_takeover");
    }
    if offer.server_max_window_bits.is_some() {
        text.push_str(&format!("; server_max_window_bits={}", agreed.bits));
    }
    if peer_bits < WINDOW_BITS_MAX {
        text.push_str(&format!("; client_max_window_bits={peer_bits}"));
    }
    (agreed, text)
}

/// Returns what a client offers.
pub(super) fn offer(deflate: &Deflate) -> String {
    let mut text = NAME.to_owned();
    if !deflate.peer_context_takeover {
        text.push_str("; server_no_context_takeover");
    }
    if !deflate.context_takeover {
        text.push_str("; client_no_context_takeover");
    }
    let (bits, peer_bits) = (known(deflate.window_bits), known(deflate.peer_window_bits));
    if peer_bits < WINDOW_BITS_MAX {
        text.push_str(&format!("; server_max_window_bits={peer_bits}"));
    }
    text.push_str("; client_max_window_bits");
    if bits < WINDOW_BITS_MAX {
        text.push_str(&format!("={bits}"));
    }
    text
}

/// Checks the answer of a server. Returns what is agreed: nothing, if the server has not answered the
/// offer.
///
/// # Errors
/// When the answer does not fit the offer. Then the client must not use the connection.
pub(super) fn check<'a>(
    values: impl Iterator<Item = &'a str>,
    deflate: Option<&Deflate>,
) -> Result<Option<Agreed>, ()> {
    let mut agreed = None;
    for extension in values.flat_map(|value| split(value, ',')).filter(|it| !it.is_empty()) {
        let (name, parameters) = name_of(extension);
        let deflate = deflate.filter(|_| is_name(name) && agreed.is_none()).ok_or(())?;
        let answer = Parameters::read(parameters).ok_or(())?;
        agreed = Some(fitting(answer, deflate).ok_or(())?);
    }
    Ok(agreed)
}

/// Returns what is agreed by an answer that fits the offer.
fn fitting(answer: Parameters, deflate: &Deflate) -> Option<Agreed> {
    if !deflate.peer_context_takeover && !answer.server_no_context_takeover {
        return None;
    }
    let (wanted, peer_wanted) = (known(deflate.window_bits), known(deflate.peer_window_bits));
    let peer_bits = answer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
    let bits = match answer.client_max_window_bits {
        Some(value) => value.filter(|bits| *bits <= wanted)?,
        None => wanted,
    };
    (peer_bits <= peer_wanted).then_some(Agreed {
        takeover: deflate.context_takeover && !answer.client_no_context_takeover,
        bits,
        peer_takeover: !answer.server_no_context_takeover,
        peer_bits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes over context in both directions.
    const ALL: Deflate = Deflate {
        level: 1,
        size_min: 0,
        context_takeover: true,
        peer_context_takeover: true,
        window_bits: 15,
        peer_window_bits: 15,
    };

    fn agreed(takeover: bool, bits: u8, peer_takeover: bool, peer_bits: u8) -> Agreed {
        Agreed { takeover, bits, peer_takeover, peer_bits }
    }

    #[test]
    fn each_offer_has_its_answer() {
        let small = Deflate { window_bits: 10, peer_window_bits: 11, ..ALL };
        let none = Deflate { context_takeover: false, peer_context_takeover: false, ..ALL };
        for (offer, deflate, expected, text) in [
            ("permessage-deflate", ALL, agreed(true, 15, true, 15), ""),
            ("PerMessage-Deflate", ALL, agreed(true, 15, true, 15), ""),
            (
                "x-other; a=\"b,c\\\", permessage-deflate; no\", permessage-deflate",
                ALL,
                agreed(true, 15, true, 15),
                "",
            ),
            ("permessage-deflate; client_max_window_bits", ALL, agreed(true, 15, true, 15), ""),
            (
                "permessage-deflate; client_max_window_bits",
                small,
                agreed(true, 10, true, 11),
                "; client_max_window_bits=11",
            ),
            (
                "permessage-deflate; client_max_window_bits=9",
                small,
                agreed(true, 10, true, 9),
                "; client_max_window_bits=9",
            ),
            (
                "permessage-deflate;server_max_window_bits=\"12\"",
                ALL,
                agreed(true, 12, true, 15),
                "; server_max_window_bits=12",
            ),
            (
                "permessage-deflate ; server_max_window_bits = 12",
                small,
                agreed(true, 10, true, 15),
                "; server_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_max_window_bits=8",
                ALL,
                agreed(true, 8, true, 15),
                "; server_max_window_bits=8",
            ),
            (
                "permessage-deflate; server_no_context_takeover",
                ALL,
                agreed(false, 15, true, 15),
                "; server_no_context_takeover",
            ),
            (
                "permessage-deflate; client_no_context_takeover",
                ALL,
                agreed(true, 15, false, 15),
                "; client_no_context_takeover",
            ),
            (
                "permessage-deflate",
                none,
                agreed(false, 15, false, 15),
                "; server_no_context_takeover; client_no_context_takeover",
            ),
            // The first offer is invalid, the second is not.
            (
                "permessage-deflate; what, permessage-deflate; server_max_window_bits=9",
                ALL,
                agreed(true, 9, true, 15),
                "; server_max_window_bits=9",
            ),
        ] {
            let found = accept([offer].into_iter(), &deflate);
            assert_eq!(found, Some((expected, format!("{NAME}{text}"))), "{offer}");
        }
    }

    #[test]
    fn invalid_and_unknown_offers_are_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate;",
        ] {
            assert_eq!(accept([offer].into_iter(), &ALL), None, "{offer}");
        }
    }

    #[test]
    fn a_server_and_a_client_agree_on_the_same() {
        let sizes = [9, 12, 15];
        let mut both = Vec::new();
        for (context_takeover, peer_context_takeover) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            for window_bits in sizes {
                for peer_window_bits in sizes {
                    both.push(Deflate {
                        context_takeover,
                        peer_context_takeover,
                        window_bits,
                        peer_window_bits,
                        ..ALL
                    });
                }
            }
        }
        for client in &both {
            for server in &both {
                let (theirs, text) =
                    accept([&*offer(client)].into_iter(), server).expect("it is taken");
                let own = check([&*text].into_iter(), Some(client)).expect("it fits");
                let own = own.expect("it is agreed");
                assert_eq!(own.takeover, theirs.peer_takeover && client.context_takeover);
                assert!(own.peer_takeover == theirs.takeover || !theirs.takeover);
                // Each side decompresses with a window as large as the other compresses with.
                assert!(own.bits <= theirs.peer_bits && theirs.bits <= own.peer_bits, "{text}");
                assert!(own.bits <= client.window_bits && theirs.bits <= server.window_bits);
                assert!(theirs.bits <= client.peer_window_bits);
                assert!(own.bits <= server.peer_window_bits);
            }
        }
    }

    #[test]
    fn answers_that_do_not_fit_the_offer_are_refused() {
        let strict =
            Deflate { peer_context_takeover: false, window_bits: 12, peer_window_bits: 11, ..ALL };
        for (answer, deflate) in [
            ("permessage-deflate", None),
            ("x-other", Some(&ALL)),
            ("permessage-deflate, permessage-deflate", Some(&ALL)),
            ("permessage-deflate; unknown", Some(&ALL)),
            ("permessage-deflate; client_max_window_bits", Some(&ALL)),
            ("permessage-deflate; server_max_window_bits=11", Some(&strict)),
            ("permessage-deflate; server_no_context_takeover", Some(&strict)),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=12",
                Some(&strict),
            ),
            (
                "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; \
              client_max_window_bits=13",
                Some(&strict),
            ),
        ] {
            assert_eq!(check([answer].into_iter(), deflate), Err(()), "{answer}");
        }
        assert_eq!(check([].into_iter(), Some(&ALL)), Ok(None));
        let text = "permessage-deflate; server_no_context_takeover; server_max_window_bits=8; \
                    client_max_window_bits=8; client_no_context_takeover";
        let found = check([text].into_iter(), Some(&strict));
        assert_eq!(found, Ok(Some(agreed(false, 8, false, 8))));
    }
}
