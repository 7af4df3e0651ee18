//! Groups of receivers, and the network interfaces through which they are reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use super::datagram::set;

/// Returns the number of the network interface with this name (`if_nametoindex(3)`).
pub(crate) fn interface_index(name: &std::ffi::CStr) -> io::Result<u32> {
    // SAFETY: the name ends with a zero byte.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// Receives what is sent to a multicast group on an interface, zero for any (`IP_ADD_MEMBERSHIP`,
/// `ip(7)`; `IPV6_ADD_MEMBERSHIP`, `ipv6(7)`).
pub(crate) fn join_group(fd: BorrowedFd<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            let request = interface_request(group, interface);
            set(fd, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request)
        }
        IpAddr::V6(group) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr { s6_addr: group.octets() },
                ipv6mr_interface: interface,
            };
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, &request)
        }
    }
}

/// Chooses the interface that multicast datagrams leave by (`IP_MULTICAST_IF`, `IPV6_MULTICAST_IF`).
pub(crate) fn set_multicast_interface(
    fd: BorrowedFd<'_>,
    is_ipv6: bool,
    interface: u32,
) -> io::Result<()> {
    if is_ipv6 {
        return set(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &(interface as libc::c_int));
    }
    let request = interface_request(Ipv4Addr::UNSPECIFIED, interface);
    set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

fn interface_request(group: Ipv4Addr, interface: u32) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: u32::from_ne_bytes(group.octets()) },
        imr_address: libc::in_addr { s_addr: libc::INADDR_ANY },
        imr_ifindex: interface as libc::c_int,
    }
}
