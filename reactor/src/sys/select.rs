//! `select(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{Poll, index, pointer, reported, timespec};
use crate::reactor::trim::Table;
use crate::{Backend, Coverage, Event, Interest, Readiness, Tag, Trigger};

const WORD_BITS: usize = u64::BITS as usize;

/// How often descriptors without interest in reading or writing are polled.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// The three sets of select, in its order: readable, writable, exceptional.
type Sets = [Vec<u64>; 3];

const KINDS: [(Interest, Readiness); 3] = [
    (Interest::READ, Readiness::READABLE),
    (Interest::WRITE, Readiness::WRITABLE),
    (Interest::PRIORITY, Readiness::PRIORITY),
];

/// The select backend. It sizes its sets itself: the kernel takes sets of any size, and only
/// `fd_set` and the macros of the C library end at `FD_SETSIZE` (1,024). So it can watch every
/// descriptor that a process may open. Its cost is proportional to the highest number.
///
/// select reports readable, writable and exceptional; the next operation tells how a descriptor
/// ended. It cannot report errors alone, so descriptors without interest in reading or writing are
/// polled once a second with poll(2).
pub(crate) struct Select {
    quiet: Poll,
    wanted: Sets,
    /// The part of `wanted` that the kernel returned.
    answer: Sets,
    tags: Vec<Option<Tag>>,
}

impl Select {
    pub(crate) fn new() -> Self {
        Self {
            quiet: Poll::new(),
            wanted: Sets::default(),
            answer: Sets::default(),
            tags: Vec::new(),
        }
    }

    fn want(&mut self, number: usize, interest: Interest) {
        for (set, (kind, _)) in self.wanted.iter_mut().zip(KINDS) {
            let bit = 1 << (number % WORD_BITS);
            let word = &mut set[number / WORD_BITS];
            *word = if interest.contains(kind) { *word | bit } else { *word & !bit };
        }
    }

    /// Calls poll(2) for a descriptor without interest in reading or writing.
    fn ask_about(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let interest = interest.without(Interest::PRIORITY);
        match (self.quiet.has(fd), interest.heeds_ends()) {
            (true, true) => self.quiet.remove(fd),
            (true, false) => self.quiet.modify(fd, tag, interest),
            (false, true) => Ok(()),
            (false, false) => self.quiet.add(fd, tag, interest),
        }
    }

    /// One call of pselect(2).
    fn select(
        &mut self,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> io::Result<Coverage> {
        for (answer, wanted) in self.answer.iter_mut().zip(&self.wanted) {
            answer.clone_from(wanted);
        }
        let timeout = timeout.map(timespec);
        let [read, write, except] = &mut self.answer;
        // SAFETY: each set has a bit for every number below the given count, `timeout` outlives the
        // call, and a null signal mask changes no mask.
        let result = unsafe {
            libc::pselect(
                self.tags.len() as libc::c_int,
                read.as_mut_ptr().cast(),
                write.as_mut_ptr().cast(),
                except.as_mut_ptr().cast(),
                pointer(timeout.as_ref()),
                std::ptr::null(),
            )
        };
        match reported(result)? {
            None => return Ok(Coverage::Partial),
            Some(0) => return Ok(Coverage::Complete),
            Some(_) => {}
        }
        for word in 0..self.answer[0].len() {
            let mut any = self.answer.iter().fold(0, |any, set| any | set[word]);
            while any != 0 {
                let bit = any.trailing_zeros() as usize;
                any &= any - 1;
                let Some(tag) = self.tags[word * WORD_BITS + bit] else { continue };
                let mut readiness = Readiness::NONE;
                for (set, (_, fact)) in self.answer.iter().zip(KINDS) {
                    if set[word] >> bit & 1 == 1 {
                        readiness |= fact;
                    }
                }
                events.push(Event { tag, readiness });
            }
        }
        Ok(Coverage::Complete)
    }

    /// Returns the tag of a watched descriptor.
    fn watched(&mut self, fd: BorrowedFd<'_>) -> io::Result<&mut Option<Tag>> {
        let number = index(fd.as_raw_fd());
        self.tags
            .get_mut(number)
            .filter(|tag| tag.is_some())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Backend for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Level
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let number = index(fd.as_raw_fd());
        if number >= self.tags.len() {
            let words = number / WORD_BITS + 1;
            self.tags.resize(words * WORD_BITS, None);
            self.wanted.iter_mut().for_each(|set| set.resize(words, 0));
        }
        self.tags[number] = Some(tag);
        self.want(number, interest);
        self.ask_about(fd, tag, interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        self.watched(fd)?;
        self.want(index(fd.as_raw_fd()), interest);
        self.ask_about(fd, tag, interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        *self.watched(fd)? = None;
        if self.quiet.has(fd) {
            self.quiet.remove(fd)?;
        }
        self.want(index(fd.as_raw_fd()), Interest::NONE);
        // The sets shrink again when the highest numbers go.
        let used = self.tags.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let words = used.div_ceil(WORD_BITS);
        self.tags.truncate(words * WORD_BITS);
        self.wanted.iter_mut().for_each(|set| set.truncate(words));
        Ok(())
    }

    fn reopen(&self) -> io::Result<Box<dyn Backend>> {
        Ok(Box::new(Self::new()))
    }

    fn wait_call(&self) -> &'static str {
        "pselect"
    }

    fn trim(&mut self) {
        self.tags.trim();
        self.wanted.iter_mut().chain(&mut self.answer).for_each(Table::trim);
        self.quiet.trim();
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let (mut left, before) = (timeout, events.len());
        loop {
            let is_asking = !self.quiet.is_empty();
            let slice = match left {
                _ if !is_asking => left,
                Some(left) => Some(left.min(ASK_INTERVAL)),
                None => Some(ASK_INTERVAL),
            };
            let mut coverage = self.select(events, slice)?;
            if is_asking && self.quiet.wait(events, Some(Duration::ZERO))? == Coverage::Partial {
                coverage = Coverage::Partial;
            }
            left = left.map(|left| left.saturating_sub(slice.unwrap_or(left)));
            let has_passed = left == Some(Duration::ZERO) || slice.is_none();
            if has_passed || coverage == Coverage::Partial || events.len() > before {
                return Ok(coverage);
            }
        }
    }

    fn nanoseconds(&self) -> u64 {
        super::monotonic()
    }
}
