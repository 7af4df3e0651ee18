//! `getaddrinfo(3)`: names to addresses.

use std::ffi::{CStr, CString};
use std::io;
use std::net::SocketAddr;

use super::socket::peer_address;

/// What `getaddrinfo(3)` is asked.
pub(crate) struct Question<'a> {
    pub(crate) name: Option<&'a CStr>,
    pub(crate) service: Option<&'a CStr>,
    pub(crate) flags: libc::c_int,
    pub(crate) family: libc::c_int,
    pub(crate) kind: libc::c_int,
    pub(crate) ip_protocol: libc::c_int,
}

/// One entry of its answer.
pub(crate) struct Entry {
    pub(crate) kind: libc::c_int,
    pub(crate) ip_protocol: libc::c_int,
    pub(crate) address: SocketAddr,
}

/// Its answer: the entries, and the canonical name if it was asked for.
pub(crate) struct Entries {
    pub(crate) list: Vec<Entry>,
    pub(crate) canonical: Option<String>,
}

/// Why it failed: its code, and the error of the system behind `EAI_SYSTEM`.
pub(crate) struct LookupFailure {
    pub(crate) code: libc::c_int,
    pub(crate) system: Option<io::Error>,
}

/// The list that `getaddrinfo` returns, which is freed once.
struct List(*mut libc::addrinfo);

impl Drop for List {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list comes from getaddrinfo, and no other code frees it.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
}

impl List {
    /// Returns the nodes. They live as long as the list.
    fn nodes(&self) -> impl Iterator<Item = &libc::addrinfo> {
        let mut next = self.0;
        std::iter::from_fn(move || {
            // SAFETY: each pointer of the list is null or points to a node that lives as long as it.
            let node = unsafe { next.as_ref() }?;
            next = node.ai_next;
            Some(node)
        })
    }
}

/// Looks a name up. It blocks: for many seconds if a name server does not answer.
pub(crate) fn getaddrinfo(question: &Question<'_>) -> Result<Entries, LookupFailure> {
    // SAFETY: all-zero bytes are a valid addrinfo: integers and null pointers.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_flags = question.flags;
    hints.ai_family = question.family;
    hints.ai_socktype = question.kind;
    hints.ai_protocol = question.ip_protocol;
    let text = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    let (name, service) = (text(question.name), text(question.service));
    let mut list = List(std::ptr::null_mut());
    // SAFETY: the texts end with a zero byte and live until the end of the call, as do the hints.
    let code = unsafe { libc::getaddrinfo(name, service, &hints, &mut list.0) };
    if code != 0 {
        let system = (code == libc::EAI_SYSTEM).then(io::Error::last_os_error);
        return Err(LookupFailure { code, system });
    }
    let canonical = list.nodes().find_map(|node| text_at(node.ai_canonname));
    let entry = |node: &libc::addrinfo| {
        let address = address_of(node)?;
        Some(Entry { kind: node.ai_socktype, ip_protocol: node.ai_protocol, address })
    };
    Ok(Entries { list: list.nodes().filter_map(entry).collect(), canonical })
}

/// Returns the address of a node, if it is an IP address.
fn address_of(node: &libc::addrinfo) -> Option<SocketAddr> {
    // SAFETY: all-zero bytes are a valid sockaddr_in6, the largest address that is expected.
    let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    let length = (node.ai_addrlen as usize).min(size_of_val(&raw));
    let (from, to) = (node.ai_addr.cast::<u8>(), std::ptr::from_mut(&mut raw).cast::<u8>());
    if from.is_null() {
        return None;
    }
    // SAFETY: both are valid for `length` bytes: the node says so, and `raw` is at least as long.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length) };
    peer_address(&raw)
}

/// Returns a copy of a text of the C library.
fn text_at(text: *const libc::c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the C library ends its texts with a zero byte, and nothing changes this one now.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// Returns what a code of `getaddrinfo(3)` means, in the words of the system.
pub(crate) fn lookup_message(code: libc::c_int) -> String {
    // SAFETY: gai_strerror takes no pointer.
    let text = unsafe { libc::gai_strerror(code) };
    text_at(text).unwrap_or_else(|| format!("error {code}"))
}

/// Returns a text for the C library; `None` if it contains a zero byte.
pub(crate) fn c_text(text: &str) -> Option<CString> {
    CString::new(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, service: &str, flags: libc::c_int) -> Result<Entries, LookupFailure> {
        let (name, service) = (c_text(name), c_text(service));
        getaddrinfo(&Question {
            name: name.as_deref(),
            service: service.as_deref(),
            flags,
            family: libc::AF_UNSPEC,
            kind: 0,
            ip_protocol: 0,
        })
    }

    #[test]
    fn a_literal_address_is_an_entry_of_each_kind() {
        let flags = libc::AI_NUMERICHOST | libc::AI_CANONNAME;
        let Ok(found) = ask("127.0.0.1", "80", flags) else { panic!("it is an address") };
        let kinds: Vec<_> = found.list.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW]);
        let address: SocketAddr = "127.0.0.1:80".parse().expect("it is an address");
        assert!(found.list.iter().all(|entry| entry.address == address));
        assert_eq!(found.canonical.as_deref(), Some("127.0.0.1"));
        let Ok(found) = ask("::1", "1", libc::AI_NUMERICHOST) else { panic!("it is an address") };
        assert_eq!(found.list[0].address.to_string(), "[::1]:1");
        assert_eq!(found.canonical, None);
    }

    #[test]
    fn a_failure_has_its_code_and_the_words_of_the_system() {
        let Err(failure) = ask("no-address", "80", libc::AI_NUMERICHOST) else {
            panic!("it is no address")
        };
        assert_eq!((failure.code, failure.system.is_none()), (libc::EAI_NONAME, true));
        assert!(lookup_message(failure.code).contains("not known"));
        assert!(c_text("a\0b").is_none());
    }
}
