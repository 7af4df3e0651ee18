//! A failover that is under way.

use super::{Claim, Election, Place, Vote};

/// What one sentinel has said since it could be asked.
#[derive(Clone, Debug, Default)]
struct Voter {
    /// Its ID, as it says itself.
    id: Option<String>,
    /// Its newest vote.
    vote: Option<Vote>,
    /// The replica that it promotes. It has said so after its newest vote.
    promotes: Option<Place>,
}

/// Knows the new master before the sentinels name it.
///
/// The sentinels elect one of them as the leader of a failover. The leader makes a replica the
/// master, and says so. It names the new master only once `INFO` of that server confirms the role,
/// which takes up to a second; the others name it after that.
///
/// One sentinel alone is not believed here either: a majority has to vote for the leader, and only
/// what the leader says about the promotion counts.
#[derive(Clone, Debug)]
pub(super) struct Failover {
    voters: Vec<Voter>,
}

impl Failover {
    pub(super) fn new(sentinels: usize) -> Self {
        Self { voters: vec![Voter::default(); sentinels] }
    }

    /// Takes the ID of a sentinel.
    pub(super) fn identify(&mut self, sentinel: usize, id: Option<String>) {
        self.voters[sentinel].id = id;
    }

    /// Takes the vote of a sentinel.
    pub(super) fn vote(&mut self, sentinel: usize, vote: Vote) {
        let voter = &mut self.voters[sentinel];
        if voter.vote.as_ref() != Some(&vote) {
            (voter.vote, voter.promotes) = (Some(vote), None);
        }
    }

    /// Takes from a sentinel that it promotes a replica.
    pub(super) fn promote(&mut self, sentinel: usize, place: Place) {
        self.voters[sentinel].promotes = Some(place);
    }

    /// Forgets what a sentinel has said: further messages of it may have been lost.
    pub(super) fn forget(&mut self, sentinel: usize) {
        self.voters[sentinel] = Voter::default();
    }

    /// Forgets all promotions.
    pub(super) fn end(&mut self) {
        self.voters.iter_mut().for_each(|voter| voter.promotes = None);
    }

    /// Returns the server that the elected leader promotes, and the epoch of its failover.
    pub(super) fn promoted(&self, agreement: usize) -> Option<Claim> {
        let enough = agreement.max(Election::majority(self.voters.len()));
        let claims = self.voters.iter().filter_map(|voter| {
            let (vote, place) = (voter.vote.as_ref()?, voter.promotes.as_ref()?);
            let votes = self.voters.iter().filter(|it| it.vote.as_ref() == Some(vote)).count();
            let named = self.voters.iter().filter(|it| it.id.as_ref() == Some(&vote.leader));
            // If two have the same ID, one of them is wrong.
            let is_leader = voter.id.as_ref() == Some(&vote.leader) && named.count() == 1;
            let claim = Claim { place: place.clone(), epoch: vote.epoch };
            (is_leader && votes >= enough).then_some(claim)
        });
        claims.max_by_key(|claim| claim.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u64) -> Place {
        Place::parse("::1", &port.to_string()).expect("it is valid")
    }

    fn vote(leader: &str, epoch: u64) -> Vote {
        Vote { leader: leader.to_owned(), epoch }
    }

    /// Three sentinels with the IDs `a`, `b` and `c`.
    fn three() -> Failover {
        let mut failover = Failover::new(3);
        for (index, id) in ["a", "b", "c"].into_iter().enumerate() {
            failover.identify(index, Some(id.to_owned()));
        }
        failover
    }

    #[test]
    fn the_elected_leader_is_believed() {
        let mut failover = three();
        failover.vote(0, vote("a", 5));
        failover.promote(0, at(2));
        assert_eq!(failover.promoted(2), None, "one vote is not enough");
        failover.vote(1, vote("a", 4));
        assert_eq!(failover.promoted(2), None, "a vote of an earlier election does not count");
        failover.vote(1, vote("a", 5));
        let promoted = Some(Claim { place: at(2), epoch: 5 });
        assert_eq!(failover.promoted(2), promoted);
        assert_eq!(failover.promoted(1), promoted);
        assert_eq!(failover.promoted(3), None, "more have to agree");
        failover.vote(1, vote("a", 5));
        failover.vote(2, vote("b", 5));
        assert_eq!(failover.promoted(2), promoted, "the third may say anything");
        failover.vote(0, vote("b", 6));
        assert_eq!(failover.promoted(2), None, "it follows another leader now");
    }

    #[test]
    fn others_than_the_leader_are_not_believed() {
        let mut failover = three();
        for index in 0..3 {
            failover.vote(index, vote("a", 5));
        }
        failover.promote(1, at(666));
        assert_eq!(failover.promoted(2), None);
        failover.identify(1, Some("a".to_owned()));
        assert_eq!(failover.promoted(2), None, "two say that they are the leader");
        failover.promote(0, at(2));
        assert_eq!(failover.promoted(2), None);
        failover.forget(1);
        failover.vote(1, vote("a", 5));
        assert_eq!(failover.promoted(2).map(|it| it.place), Some(at(2)));
    }

    #[test]
    fn a_minority_elects_no_leader() {
        let mut failover = three();
        failover.vote(0, vote("a", u64::MAX));
        failover.promote(0, at(666));
        for agreement in 0..4 {
            assert_eq!(failover.promoted(agreement), None);
        }
    }

    #[test]
    fn what_a_sentinel_has_said_is_forgotten() {
        let mut failover = three();
        failover.vote(0, vote("a", 5));
        failover.vote(1, vote("a", 5));
        failover.promote(0, at(2));
        let mut ended = failover.clone();
        ended.end();
        assert_eq!(ended.promoted(2), None);
        failover.forget(0);
        failover.identify(0, Some("a".to_owned()));
        assert_eq!(failover.promoted(2), None);
    }
}
