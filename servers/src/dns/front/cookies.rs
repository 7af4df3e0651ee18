//! The cookies of clients (RFC 7873): a client that repeats the cookie of this server receives what is sent to
//! its address, so that address is not forged.

use std::net::IpAddr;
use std::time::SystemTime;

use protocol::dns::{
    CLIENT_COOKIE_SIZE, Cookie, CookieSecret, Message, SERVER_COOKIE_SIZE, append_option, option,
};

/// The size of a COOKIE option with its number and its size, in bytes.
const SIZE: usize = 4 + CLIENT_COOKIE_SIZE + SERVER_COOKIE_SIZE;

/// A COOKIE option for the answer to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct CookieOption([u8; SIZE]);

impl CookieOption {
    /// Returns the option with its number and its size.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the cookie of a question shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// There is none, or the client has no address.
    Nothing,
    /// It has a wrong size.
    Malformed,
    /// The client has heard no cookie of this server, or one that is of no worth any more. This is the next.
    Unproven(CookieOption),
    /// The client receives what is sent to its address. This is its next cookie.
    Proven(CookieOption),
}

impl Shown {
    /// Returns the option for the answer.
    pub(super) fn reply(self) -> Option<CookieOption> {
        match self {
            Self::Nothing | Self::Malformed => None,
            Self::Unproven(option) | Self::Proven(option) => Some(option),
        }
    }
}

/// Looks at the cookie of a message that is from this address.
pub(super) fn shown(
    message: &Message<'_>,
    address: Option<IpAddr>,
    secret: &CookieSecret,
) -> Shown {
    let content = message.edns().and_then(|edns| edns.option(option::COOKIE));
    let (Some(content), Some(address)) = (content, address) else { return Shown::Nothing };
    let Some(cookie) = Cookie::parse(content) else { return Shown::Malformed };
    let (address, now) = (address.to_canonical(), seconds());
    let mut bytes = Vec::with_capacity(SIZE);
    let own = [&cookie.client[..], &secret.make(cookie.client, address, now)].concat();
    append_option(option::COOKIE, &own, &mut bytes);
    match <[u8; SIZE]>::try_from(bytes) {
        Ok(bytes) if secret.has_made(&cookie, address, now) => Shown::Proven(CookieOption(bytes)),
        Ok(bytes) => Shown::Unproven(CookieOption(bytes)),
        Err(_) => Shown::Nothing,
    }
}

/// Returns the seconds since 1970, whose upper bits cookies do without.
fn seconds() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as u32
}

#[cfg(test)]
mod tests {
    use protocol::dns::{Builder, Class, Edns, Header, Name, RecordType};

    use super::*;

    /// Looks at the cookie of a question with this content of the option.
    fn look(content: &[u8], address: &str) -> Shown {
        let mut options = Vec::new();
        append_option(option::COOKIE, content, &mut options);
        let name: Name = "a.example".parse().expect("a name");
        let mut builder = Builder::new(Header::question(1), 512);
        builder.question(name.view(), RecordType::A, Class::IN).expect("room");
        let edns = Edns::new(1232).with_options(&options).expect("they are whole");
        builder.edns(&edns).expect("room");
        let bytes = builder.finish();
        let message = Message::parse(&bytes).expect("it is right");
        shown(&message, Some(address.parse().expect("an address")), &CookieSecret::new([7; 16]))
    }

    #[test]
    fn a_client_is_known_by_the_cookie_that_it_repeats() {
        let Shown::Unproven(first) = look(b"a client", "192.0.2.1") else { panic!("it is new") };
        let content = &first.as_bytes()[4..];
        assert!(content.starts_with(b"a client"));
        assert!(matches!(look(content, "192.0.2.1"), Shown::Proven(_)));
        // The same address, as an IPv6 socket tells it.
        assert!(matches!(look(content, "::ffff:192.0.2.1"), Shown::Proven(_)));
        assert!(matches!(look(content, "192.0.2.2"), Shown::Unproven(_)));
        assert!(matches!(look(&[0; 24], "192.0.2.1"), Shown::Unproven(_)));
        assert_eq!(look(b"short", "192.0.2.1"), Shown::Malformed);
    }
}
