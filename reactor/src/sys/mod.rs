//! The system calls. All `unsafe` code of the workspace is here, one call a block, each with its
//! reason.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

mod affinity;
mod blocking;
mod clock;
mod control;
mod datagram;
mod epoll;
mod event_fd;
#[cfg(test)]
pub(crate) mod forbidden;
mod fork;
mod inherited;
mod inotify;
mod io_calls;
mod io_signals;
mod mask;
mod multicast;
mod names;
mod netlink;
mod passing;
mod pidfd;
mod plain;
mod poll;
mod prefetch;
mod process;
mod resource;
mod select;
mod sending;
mod signal;
mod signal_sender;
mod sigpipe;
mod socket;
mod urgent;
mod uring;
mod wall_clock;

pub(crate) use affinity::{allowed_processors, run_only_on};
pub(crate) use blocking::{
    Patience, Polled, poll_all, receive, send_now, set_blocking, set_receive_timeout,
    set_send_timeout, shutdown_both, shutdown_read,
};
pub(crate) use clock::monotonic;
#[cfg(fuzzing)]
pub use control::control_notes;
pub(crate) use datagram::{
    BATCH_MAX, Batch, DatagramOption, Local, Notes, Received, Refusal, Remote, receive_batch,
    set_datagram_option, take_refusal,
};
pub(crate) use epoll::{Epoll, can_be_watched, readiness_of};
pub(crate) use event_fd::EventFd;
pub(crate) use fork::fork;
pub use inherited::inherited_descriptor;
pub(crate) use inotify::{add_watch, open_inotify, remove_watch};
pub(crate) use io_calls::{
    SLICES_MAX, identity, read, ready_now, send, send_more, sendfile, set_nonblocking,
    wait_for_input, writev,
};
pub(crate) use io_signals::{IoSignal, block_io_signals, signal_when_ready, wait_for_io_signal};
pub(crate) use mask::with_signals_blocked;
pub(crate) use multicast::{interface_index, join_group, set_multicast_interface};
pub(crate) use names::{Entry, LookupFailure, Question, c_text, getaddrinfo, lookup_message};
pub(crate) use netlink::{
    bind_netlink, netlink_port, netlink_socket, receive_netlink, set_netlink_buffer,
};
pub(crate) use passing::{
    DESCRIPTORS_MAX, Message, Waiting, is_unix_socket, receive_descriptors, send_descriptors,
};
pub(crate) use pidfd::{Pidfd, forgets_children, spawn_with_default_signals};
pub(crate) use plain::Plain;
pub(crate) use poll::Poll;
pub(crate) use prefetch::prefetch;
pub(crate) use process::{Owner, Process};
pub(crate) use resource::effective_user;
pub use resource::raise_descriptor_limit;
pub(crate) use select::Select;
pub(crate) use sending::{Outgoing, SendRoom, send_batch, send_one};
pub(crate) use signal::{Subscription, check_catchable, is_ignored};
pub(crate) use signal_sender::{Sent, last_sender};
pub(crate) use sigpipe::Sigpipe;
pub(crate) use socket::{
    Connecting, Endpoint, UNIX_PATH_MAX, accept, backlog, bind, bind_to_device, choose_port_late,
    connect, datagram_socket, is_listening, is_stream_socket, listen, local_address,
    local_unix_name, peer_credentials, remote_address, reset_on_close, resets_on_close,
    sends_messages, set_ipv6_only, set_keepalive, set_nodelay, set_reuse_address, set_reuse_port,
    set_user_timeout, shutdown_write, stream_socket, take_error, turned_away, unacknowledged,
};
pub(crate) use urgent::{
    is_at_mark, is_urgent_inline, receive_urgent, send_urgent, set_urgent_inline,
};
#[cfg(test)]
pub(crate) use uring::Fills;
pub(crate) use uring::{
    BLOCK_SIZE, Done, Operations, Piece, Repeats, Room, Sizes, Unread, WaitFor,
};
pub(crate) use wall_clock::{
    boottime, boottime_timer, read_step, step_watch, utc_offset, watch_steps,
};

/// Returns the result of a call that returns -1 and sets `errno` when it fails.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a call that transfers bytes, again if a signal interrupted it, and returns its result.
#[inline]
fn transfer(mut call: impl FnMut() -> libc::c_long) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        if let Some(error) = unless_interrupted() {
            return Err(error);
        }
    }
}

/// Returns the error of the last call, unless a signal interrupted it.
#[cold]
fn unless_interrupted() -> Option<io::Error> {
    let error = io::Error::last_os_error();
    (error.kind() != io::ErrorKind::Interrupted).then_some(error)
}

/// Returns how many events a wait reported, or `None` when it was interrupted.
fn reported(result: libc::c_int) -> io::Result<Option<usize>> {
    match check(result) {
        Ok(count) => Ok(usize::try_from(count).ok()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns a duration as the kernel takes it. One that is too long is shortened to the longest.
fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos()),
    }
}

/// Returns a pointer to `value`, or the null pointer for `None`.
fn pointer<T>(value: Option<&T>) -> *const T {
    value.map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Returns the number of a descriptor as an index. Descriptors are never negative.
fn index(fd: RawFd) -> usize {
    usize::try_from(fd).expect("a borrowed descriptor is never negative")
}
