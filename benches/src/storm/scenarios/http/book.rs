//! Accounts of requests: what was begun, what the server has carried out, and what the clients were
//! told. They outlive all programs.

use std::cell::RefCell;
use std::rc::Rc;

use reactor::sim::Outcome;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// A body with a length.
    Fixed,
    /// A body in chunks, with a trailer.
    Chunked,
    /// A body with a length, after some time.
    Late,
    /// The head of a body with a length.
    Head,
    /// A body with a length, after which the server closes the connection.
    Close,
    /// The server takes a body, and counts that: `POST`.
    Take,
    /// The same, where twice is as good as once: `PUT`.
    Put,
    /// The server takes a body, counts that, and sends it back while it comes.
    Echo,
    /// The server does not want the body.
    Refuse,
    /// A file of the server.
    File,
}

impl Kind {
    /// Returns the method of such a request.
    pub(in super::super) fn method(self) -> &'static str {
        match self {
            Self::Fixed | Self::Chunked | Self::Late | Self::Close | Self::File => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Take | Self::Echo | Self::Refuse => "POST",
        }
    }

    /// Returns the first part of its path.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Fixed | Self::Head => "fixed",
            Self::Chunked => "chunked",
            Self::Late => "late",
            Self::Close => "close",
            Self::Take | Self::Put => "take",
            Self::Echo => "echo",
            Self::Refuse => "refuse",
            Self::File => "file",
        }
    }

    /// Returns the kind of a path with this first part.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        const ALL: [Kind; 7] = [
            Kind::Fixed,
            Kind::Chunked,
            Kind::Late,
            Kind::Close,
            Kind::Take,
            Kind::Echo,
            Kind::Refuse,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns whether such a request has a body.
    pub(in super::super) fn has_body(self) -> bool {
        matches!(self, Self::Take | Self::Put | Self::Echo | Self::Refuse)
    }

    /// Returns whether the server counts such a request.
    fn is_counted(self) -> bool {
        matches!(self, Self::Take | Self::Put | Self::Echo)
    }

    /// Returns the status of the right response.
    pub(in super::super) fn status(self) -> u16 {
        if self == Self::Refuse { 403 } else { 200 }
    }
}

/// What a request was completed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Told {
    /// The response was whole, and right.
    Right,
    /// The response was whole. It was one of the server itself, with this status.
    Other(u16),
    /// There was no whole response.
    Failed {
        /// The server may have carried it out.
        may_be_done: bool,
    },
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// The program that began it.
    life: u64,
    /// It has to be answered.
    is_wanted: bool,
    told: Option<Told>,
    /// How often the server has carried it out.
    done: u32,
}

/// The accounts of a run. The number of a request is its place.
#[derive(Debug, Default)]
pub(in super::super) struct Book {
    entries: Vec<Entry>,
    lives: u64,
}

/// Accounts that programs and their scenario share.
pub(in super::super) type Shared = Rc<RefCell<Book>>;

impl Book {
    /// Returns the number of a program that starts.
    pub(in super::super) fn begin_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// Records that a request is begun. Returns its number.
    pub(in super::super) fn begin(&mut self, kind: Kind, life: u64, is_wanted: bool) -> u64 {
        self.entries.push(Entry { kind, life, is_wanted, told: None, done: 0 });
        self.entries.len() as u64 - 1
    }

    /// Records that a request was carried out.
    pub(in super::super) fn carry_out(&mut self, number: u64) {
        self.entries[number as usize].done += 1;
    }

    /// Records what a request was completed with.
    ///
    /// # Panics
    /// Panics if it was completed before.
    pub(in super::super) fn complete(&mut self, number: u64, told: Told) {
        let entry = &mut self.entries[number as usize];
        assert_eq!(entry.told, None, "request {number} completes twice, the second time {told:?}");
        entry.told = Some(told);
    }

    /// Returns what a request was completed with.
    pub(in super::super) fn told(&self, number: u64) -> Option<Told> {
        self.entries[number as usize].told
    }

    /// Finds contradictions between what was told and what was done. `lives` are the programs that
    /// were not killed.
    pub(in super::super) fn judge(&self, lives: &[u64]) -> Outcome {
        for (number, entry) in self.entries.iter().enumerate() {
            let Entry { kind, done, told, .. } = *entry;
            let is_once = !matches!(kind, Kind::Put);
            let wrong = match told {
                None if lives.contains(&entry.life) => "was never completed",
                Some(Told::Failed { .. } | Told::Other(_)) if entry.is_wanted => {
                    "was not answered in the calm"
                }
                _ if is_once && done > 1 => "was carried out more than once",
                Some(Told::Right) if kind.is_counted() && done == 0 => {
                    "was answered and not carried out"
                }
                Some(Told::Failed { may_be_done: false }) if done > 0 => {
                    "was told not sent, and was carried out"
                }
                _ => continue,
            };
            return Err(format!("request {number} {wrong}: {entry:?}").into());
        }
        Ok(())
    }
}
