//! Memory that is shared with the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32};

use super::abi::{Done, Entry};

/// A mapping of memory (`mmap(2)`), which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes of the ring `fd` at an offset.
    pub(super) fn of(fd: BorrowedFd<'_>, length: usize, offset: i64) -> io::Result<Self> {
        Self::map(length, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    /// Maps `length` bytes of new memory, all zero.
    pub(super) fn new(length: usize) -> io::Result<Self> {
        Self::map(length, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn map(length: usize, flags: i32, fd: i32, offset: i64) -> io::Result<Self> {
        let (anywhere, access) = (std::ptr::null_mut(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: without an address, no other mapping is replaced.
        let start = unsafe { libc::mmap(anywhere, length, access, flags, fd, offset) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Returns the address, for the kernel.
    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Returns a pointer to an item at an offset in bytes.
    ///
    /// # Panics
    /// When it is not within the mapping, or not aligned.
    #[inline]
    pub(super) fn at<T>(&self, offset: usize) -> NonNull<T> {
        let end = offset.checked_add(size_of::<T>());
        assert!(end.is_some_and(|end| end <= self.length), "{offset} is outside of the mapping");
        assert!(offset.is_multiple_of(align_of::<T>()), "{offset} is not aligned");
        // SAFETY: the offset was found to be within the mapping.
        unsafe { self.start.add(offset) }.cast()
    }

    /// Returns a number that the kernel changes too.
    #[inline]
    pub(super) fn shared(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: it is within the mapping and aligned, the mapping lives as long as the reference, and
        // both sides access it atomically.
        unsafe { self.at::<AtomicU32>(offset).as_ref() }
    }

    /// Returns a short number that the kernel reads too.
    #[inline]
    pub(super) fn shared_short(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as in `shared`.
        unsafe { self.at::<AtomicU16>(offset).as_ref() }
    }

    /// Writes an item that the kernel does not read at the same time.
    #[inline]
    pub(super) fn write<T: Item>(&self, offset: usize, item: T) {
        // SAFETY: it is within the mapping and aligned.
        unsafe { self.at::<T>(offset).write(item) }
    }

    /// Reads an item that the kernel does not write at the same time.
    #[inline]
    pub(super) fn read<T: Item>(&self, offset: usize) -> T {
        // SAFETY: it is within the mapping and aligned, and any bytes are such an item.
        unsafe { self.at::<T>(offset).read() }
    }
}

/// What memory shared with the kernel consists of: plain numbers, which any bytes are.
pub(super) trait Item: Copy {}

impl Item for u32 {}
impl Item for Entry {}
impl Item for Done {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and references to it do not outlive it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
