//! The decision which server is the master.

use super::failover::Failover;
use super::{Place, Role, Vote};

/// What one sentinel says about where the master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the master is.
    pub place: Place,
    /// The epoch of this knowledge (`config-epoch`). Each failover has a larger one.
    pub epoch: u64,
}

/// The result of asking a server for its role: see [`Election::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server is the master from now on. It was not before.
    Elected,
    /// The server is still the master.
    Confirmed,
    /// The server is not the master. If the sentinels go on to name it, it is asked again.
    NotMaster,
}

/// Whether the master is still the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It has said so last.
    None,
    /// It does not answer.
    Silent,
    /// It says that it is none.
    Denied,
}

/// Decides which of the servers that several sentinels name is the master.
///
/// Sentinels may be dead, late or wrong, so one of them alone is not believed. A server is a
/// candidate if enough sentinels name it at the same time. It becomes the master once it says so
/// itself ([`Role`]). It stays the master, whatever happens to the sentinels, until another server
/// is elected.
///
/// A candidate with an older epoch than that of the master is ignored, since sentinels that return
/// after a partition name an old master for a moment. The exceptions are a master that
/// says that it is none, and one that does not answer and that no sentinel names. The epoch of a candidate is the smallest one that
/// enough sentinels have reached, so that a wrong sentinel cannot raise it.
///
/// A candidate is known about a second earlier if the sentinels say how they carry out a failover
/// ([`vote`](Self::vote), [`promote`](Self::promote)): it is the replica that the leader promotes,
/// for which a majority has voted.
///
/// ```
/// use clients::sentinel::{Claim, Election, Place, Role, Verdict};
///
/// let claim = |port| Claim { place: Place::parse("127.0.0.1", port).unwrap(), epoch: 1 };
/// let mut election = Election::new(3, 2);
/// election.claim(0, Some(claim("6379")));
/// assert_eq!(election.candidate(), None, "one sentinel is not enough");
/// election.claim(1, Some(claim("6379")));
/// election.claim(2, Some(claim("666")));
/// let candidate = election.candidate().expect("two of three agree").place;
/// assert_eq!(election.verify(&candidate, Some(&Role::Master { offset: 1 })), Verdict::Elected);
/// assert_eq!(election.master().map(Place::port), Some(6379));
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    /// What each sentinel says now.
    claims: Vec<Option<Claim>>,
    /// How many sentinels have to agree.
    agreement: usize,
    master: Option<Claim>,
    doubt: Doubt,
    failover: Failover,
}

impl Election {
    /// Returns an election among `sentinels` of which `agreement` have to agree, at least one.
    pub fn new(sentinels: usize, agreement: usize) -> Self {
        let claims = vec![None; sentinels];
        let failover = Failover::new(sentinels);
        Self { claims, agreement: agreement.max(1), master: None, doubt: Doubt::None, failover }
    }

    /// Returns how many of `sentinels` are a majority. As long as fewer than that are wrong, only a
    /// server that a right one names can be elected.
    pub fn majority(sentinels: usize) -> usize {
        sentinels / 2 + 1
    }

    /// Takes what the sentinel of this index says, in place of what it has said before. `None`: it
    /// does not answer, or does not know the master.
    ///
    /// # Panics
    /// When the index is not below the number of sentinels.
    pub fn claim(&mut self, sentinel: usize, claim: Option<Claim>) {
        self.claims[sentinel] = claim;
        if let (Some(agreed), Some(master)) = (self.agreed(), &mut self.master)
            && agreed.place == master.place
        {
            master.epoch = master.epoch.max(agreed.epoch);
        }
    }

    /// Returns what the sentinel of this index says.
    pub fn claim_of(&self, sentinel: usize) -> Option<&Claim> {
        self.claims.get(sentinel)?.as_ref()
    }

    /// Takes the ID of a sentinel: its answer to `SENTINEL MYID`. Votes name it.
    ///
    /// # Panics
    /// When the index is not below the number of sentinels.
    pub fn identify(&mut self, sentinel: usize, id: Option<String>) {
        self.failover.identify(sentinel, id);
    }

    /// Takes from a sentinel which one it elects as the leader of a failover.
    ///
    /// # Panics
    /// When the index is not below the number of sentinels.
    pub fn vote(&mut self, sentinel: usize, vote: Vote) {
        self.failover.vote(sentinel, vote);
    }

    /// Takes from a sentinel that it makes a replica the master. The caller has to know from enough
    /// sentinels that the server is a replica. Only what the elected leader says counts.
    ///
    /// # Panics
    /// When the index is not below the number of sentinels.
    pub fn promote(&mut self, sentinel: usize, place: Place) {
        self.failover.promote(sentinel, place);
    }

    /// Forgets the votes and promotions of a sentinel: a message of it may have been lost.
    ///
    /// # Panics
    /// When the index is not below the number of sentinels.
    pub fn lost(&mut self, sentinel: usize) {
        self.failover.forget(sentinel);
    }

    /// Forgets all promotions: they have taken too long.
    pub fn end_promotions(&mut self) {
        self.failover.end();
    }

    /// Returns the server whose role has to be asked for now, if there is one: see
    /// [`verify`](Self::verify).
    pub fn candidate(&self) -> Option<Claim> {
        let newest = self.newest()?;
        let Some(master) = &self.master else { return Some(newest) };
        let is_other = master.place != newest.place;
        let is_newer = master.epoch <= newest.epoch;
        let is_possible = match self.doubt {
            Doubt::None => is_other && is_newer,
            // A majority that is late must not lead back to the master before this one.
            Doubt::Silent => !is_other || is_newer || !self.is_named(&master.place),
            Doubt::Denied => true,
        };
        is_possible.then_some(newest)
    }

    /// Returns whether a sentinel names this server.
    fn is_named(&self, place: &Place) -> bool {
        self.claims.iter().flatten().any(|claim| claim.place == *place)
    }

    /// Returns the server that is promoted, or the one that enough sentinels name, if that is newer.
    fn newest(&self) -> Option<Claim> {
        match (self.failover.promoted(self.agreement), self.agreed()) {
            (Some(promoted), Some(agreed)) if agreed.epoch >= promoted.epoch => Some(agreed),
            (promoted, agreed) => promoted.or(agreed),
        }
    }

    /// Returns the server that enough sentinels name. If there are several, which is possible if no
    /// majority is required: the one of the newest epoch, of those the one that most name, of those
    /// the present master.
    fn agreed(&self) -> Option<Claim> {
        let claims = self.claims.iter().flatten();
        let groups = claims.filter_map(|claim| {
            let same = self.claims.iter().flatten().filter(|other| other.place == claim.place);
            let mut epochs: Vec<u64> = same.map(|it| it.epoch).collect();
            epochs.sort_unstable_by(|a, b| b.cmp(a));
            let epoch = *epochs.get(self.agreement - 1)?;
            let is_present = self.master.as_ref().is_some_and(|it| it.place == claim.place);
            Some(((epoch, epochs.len(), is_present), &claim.place))
        });
        let ((epoch, ..), place) = groups.max()?;
        Some(Claim { place: place.clone(), epoch })
    }

    /// Takes the role of a server: `None` if it does not answer. Only the role of the
    /// [`candidate`](Self::candidate) and that of the master matter.
    pub fn verify(&mut self, place: &Place, role: Option<&Role>) -> Verdict {
        let is_master = role.is_some_and(Role::is_master);
        let is_present = self.master() == Some(place);
        if is_present {
            self.doubt = match role {
                None => Doubt::Silent,
                Some(role) if role.is_master() => Doubt::None,
                Some(_) => Doubt::Denied,
            };
        }
        match self.candidate() {
            _ if is_present && is_master => Verdict::Confirmed,
            Some(candidate) if is_master && candidate.place == *place => {
                self.master = Some(candidate);
                self.doubt = Doubt::None;
                Verdict::Elected
            }
            _ => Verdict::NotMaster,
        }
    }

    /// Returns the master.
    pub fn master(&self) -> Option<&Place> {
        self.master.as_ref().map(|claim| &claim.place)
    }

    /// Returns the epoch of the master.
    pub fn epoch(&self) -> Option<u64> {
        self.master.as_ref().map(|claim| claim.epoch)
    }

    /// Returns whether the master does not answer, or says that it is none.
    pub fn is_doubted(&self) -> bool {
        self.doubt != Doubt::None
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    const MASTER: Role = Role::Master { offset: 1 };
    const REPLICA: Role = Role::Replica { master: None, is_connected: true, offset: 1 };

    fn at(port: u64) -> Place {
        Place::parse("::1", &port.to_string()).expect("it is valid")
    }

    fn claim(port: u64, epoch: u64) -> Option<Claim> {
        Some(Claim { place: at(port), epoch })
    }

    /// An election of three sentinels that agree on port 1, which is elected.
    fn elected() -> Election {
        let mut election = Election::new(3, 2);
        for sentinel in 0..3 {
            election.claim(sentinel, claim(1, 1));
        }
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Elected);
        election
    }

    fn candidate(election: &Election) -> Option<Place> {
        election.candidate().map(|it| it.place)
    }

    #[test]
    fn a_server_is_elected_once_it_says_that_it_is_the_master() {
        let mut election = Election::new(3, 2);
        election.claim(0, claim(1, 1));
        election.claim(1, claim(1, 2));
        assert_eq!(election.candidate(), claim(1, 1));
        for role in [None, Some(&REPLICA), Some(&Role::Sentinel)] {
            assert_eq!(election.verify(&at(1), role), Verdict::NotMaster);
            assert_eq!(election.master(), None);
        }
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::NotMaster, "not a candidate");
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Elected);
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Confirmed);
        assert_eq!((candidate(&election), election.epoch()), (None, Some(1)));
    }

    #[test]
    fn a_failover_elects_the_new_master_though_the_old_one_answers() {
        let mut election = elected();
        election.claim(0, claim(2, 2));
        assert_eq!(candidate(&election), None, "one sentinel is not enough");
        election.claim(1, claim(2, 2));
        assert_eq!(candidate(&election), Some(at(2)));
        assert_eq!(election.verify(&at(2), Some(&REPLICA)), Verdict::NotMaster);
        assert_eq!(election.master(), Some(&at(1)), "it is not promoted yet");
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
    }

    #[test]
    fn the_master_stays_when_the_sentinels_are_gone() {
        let mut election = elected();
        for sentinel in 0..3 {
            election.claim(sentinel, None);
            assert_eq!((election.master(), election.candidate()), (Some(&at(1)), None));
        }
    }

    #[test]
    fn sentinels_with_old_knowledge_are_ignored_unless_the_master_is_in_doubt() {
        let mut election = elected();
        election.claim(0, claim(2, 5));
        election.claim(1, claim(2, 5));
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
        election.claim(0, claim(1, 1));
        election.claim(1, claim(1, 1));
        assert_eq!(candidate(&election), None);
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::NotMaster);
        // The configuration of the sentinels was made anew, and its epochs begin again.
        assert_eq!(election.verify(&at(2), Some(&REPLICA)), Verdict::NotMaster);
        assert!(election.is_doubted());
        assert_eq!(candidate(&election), Some(at(1)));
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Elected);
        assert!(!election.is_doubted());
    }

    #[test]
    fn a_late_majority_does_not_lead_back() {
        let mut election = elected();
        election.claim(0, claim(2, 2));
        election.claim(1, claim(2, 2));
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
        // One forgets, since it was restarted in an old state. The new master is busy.
        election.claim(1, claim(1, 1));
        assert_eq!(election.verify(&at(2), None), Verdict::NotMaster);
        assert_eq!(candidate(&election), None, "one sentinel names the new master");
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::NotMaster);
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Confirmed);
        // If the new master says that it is none, the others are right.
        assert_eq!(election.verify(&at(2), Some(&REPLICA)), Verdict::NotMaster);
        assert_eq!(candidate(&election), Some(at(1)));
    }

    #[test]
    fn a_wrong_epoch_of_one_sentinel_does_not_count() {
        let mut election = Election::new(3, 2);
        election.claim(0, claim(1, u64::MAX));
        election.claim(1, claim(1, 1));
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Elected);
        assert_eq!(election.epoch(), Some(1));
        election.claim(0, claim(1, u64::MAX));
        election.claim(1, claim(2, 2));
        election.claim(2, claim(2, 2));
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
    }

    /// Makes the sentinels 0 and 1 elect the first one in this epoch, which promotes port 2.
    fn promote(election: &mut Election, epoch: u64) {
        for sentinel in 0..2 {
            election.identify(sentinel, Some(format!("id{sentinel}")));
            election.vote(sentinel, Vote { leader: "id0".to_owned(), epoch });
        }
        election.promote(0, at(2));
    }

    #[test]
    fn a_promoted_replica_is_elected_before_the_sentinels_name_it() {
        let mut election = elected();
        promote(&mut election, 1);
        assert_eq!(candidate(&election), None, "it is not newer than what they name");
        promote(&mut election, 2);
        assert_eq!(candidate(&election), Some(at(2)));
        assert_eq!(election.verify(&at(2), Some(&REPLICA)), Verdict::NotMaster);
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
        assert_eq!((candidate(&election), election.epoch()), (None, Some(2)));
        // The old master returns, and the new one is busy.
        assert_eq!(election.verify(&at(2), None), Verdict::NotMaster);
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::NotMaster);
        assert_eq!(candidate(&election), Some(at(2)));
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Confirmed);
        for sentinel in 0..3 {
            election.claim(sentinel, claim(2, 2));
        }
        election.end_promotions();
        assert_eq!((candidate(&election), election.master()), (None, Some(&at(2))));
    }

    #[test]
    fn a_failover_that_is_given_up_leads_back() {
        let mut election = elected();
        promote(&mut election, 2);
        assert_eq!(election.verify(&at(2), Some(&MASTER)), Verdict::Elected);
        election.end_promotions();
        assert_eq!(candidate(&election), None, "what the sentinels name is older");
        // They make the server a replica again.
        assert_eq!(election.verify(&at(2), Some(&REPLICA)), Verdict::NotMaster);
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Elected);
    }

    #[test]
    fn an_old_promotion_is_no_candidate() {
        let mut election = elected();
        for sentinel in 0..3 {
            election.claim(sentinel, claim(1, 3));
        }
        promote(&mut election, 2);
        assert_eq!(candidate(&election), None);
        election.verify(&at(1), None);
        assert_eq!(candidate(&election), Some(at(1)));
        promote(&mut election, 4);
        election.lost(0);
        assert_eq!(candidate(&election), Some(at(1)), "its leader is gone");
    }

    #[test]
    fn a_master_in_doubt_is_asked_again() {
        let mut election = elected();
        election.verify(&at(1), None);
        assert_eq!(candidate(&election), Some(at(1)));
        assert_eq!(election.verify(&at(1), Some(&MASTER)), Verdict::Confirmed);
        assert_eq!(candidate(&election), None);
    }

    #[test]
    fn without_a_majority_the_newest_epoch_wins() {
        let mut election = Election::new(3, 1);
        election.claim(0, claim(1, 3));
        election.claim(1, claim(2, 4));
        assert_eq!(candidate(&election), Some(at(2)));
        election.claim(0, claim(1, 4));
        election.claim(2, claim(1, 4));
        assert_eq!(candidate(&election), Some(at(1)), "more name it");
        let mut alone = Election::new(1, 0);
        alone.claim(0, claim(1, 0));
        assert_eq!(candidate(&alone), Some(at(1)), "at least one has to name it");
    }

    #[test]
    fn a_minority_of_liars_elects_nothing_that_no_right_sentinel_names() {
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let sentinels = 1 + random.index(7);
            let liars = random.index(sentinels.div_ceil(2));
            let mut election = Election::new(sentinels, Election::majority(sentinels));
            // The servers of even ports are real masters at some time; the others never are, though
            // the liars' server says so.
            let (mut now, mut epoch) = (2, 1);
            for _ in 0..200 {
                if random.one_in(20) {
                    (now, epoch) = (2 * (1 + random.below(20)), epoch + 1 + random.below(3));
                }
                let sentinel = random.index(sentinels);
                let said = match sentinel {
                    _ if random.one_in(5) => None,
                    it if it < liars => claim(2 * random.below(20) + 1, random.number()),
                    // Some learn late.
                    _ if random.one_in(3) => election.claim_of(sentinel).cloned(),
                    _ => claim(now, epoch),
                };
                election.claim(sentinel, said);
                if let Some(candidate) = election.candidate() {
                    let role = if random.one_in(3) { &REPLICA } else { &MASTER };
                    election.verify(&candidate.place, Some(role));
                }
                if let Some(master) = election.master() {
                    assert_eq!(master.port() % 2, 0, "seed {seed}: a liar was believed");
                    assert!(election.epoch() <= Some(epoch), "seed {seed}: its epoch was, too");
                }
            }
            // Once the right sentinels agree, they are followed.
            for sentinel in liars..sentinels {
                election.claim(sentinel, claim(now, epoch));
            }
            election.verify(&at(now), Some(&MASTER));
            assert_eq!(election.master(), Some(&at(now)), "seed {seed}");
        }
    }
}
