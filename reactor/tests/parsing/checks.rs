//! What has to hold for the text of an address, whatever it is. The fuzz target `location` checks the
//! same.

use reactor::{Address, Location};

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Address,
    Host,
    Neither,
}

/// Parses `text`. What it is has to be parsed from what is printed of it, and an error has to show the
/// text.
///
/// # Panics
/// When that is not so.
pub(crate) fn check(text: &str) -> Kind {
    match (text.parse::<Location>(), text.parse::<Address>()) {
        (Ok(location), address) => {
            let shown = location.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&location), "{text:?} is shown as {shown:?}");
            match (&location, address) {
                (Location::Address(it), Ok(address)) => {
                    assert_eq!((it, &shown), (&address, &address.to_string()), "{text:?}");
                    assert_eq!(shown.parse().as_ref(), Ok(&address), "{text:?}");
                    assert_eq!(location.is_datagram(), address.is_datagram(), "{text:?}");
                    Kind::Address
                }
                (Location::Host { name, service, .. }, Err(_)) => {
                    assert!(!name.is_empty() && !service.is_empty(), "{text:?}");
                    assert!(shown.contains(name) && shown.ends_with(service), "{text:?}");
                    Kind::Host
                }
                (_, address) => panic!("{text:?} is {location:?}, and as an address {address:?}"),
            }
        }
        (Err(error), Err(_)) => {
            assert!(error.to_string().contains(text), "{error} does not show {text:?}");
            Kind::Neither
        }
        (Err(error), Ok(address)) => panic!("{text:?} is {address:?}, and no location: {error}"),
    }
}
