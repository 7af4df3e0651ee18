//! Makes a counter-example smaller. What is left out does not matter: the rest has no order either.

use super::history::{Operation, Rules};
use super::linear::{End, requested_before, search};
use super::model::is_blind;

/// How often an example is searched again.
const SEARCHES_MAX: usize = 300;

/// An example: its operations, which of them has a reply that cannot be explained, and what the key
/// could be before.
type Example<'a> = (Vec<&'a Operation>, usize, Vec<String>);

struct Reduction<'a, 'b> {
    best: Example<'a>,
    rules: &'b Rules,
    searches: usize,
}

/// Returns a smaller example, from one that fails at operation `last`.
pub(super) fn smaller<'a>(
    operations: Vec<&'a Operation>,
    last: usize,
    states: Vec<String>,
    rules: &Rules,
) -> Example<'a> {
    let mut reduction = Reduction { best: (operations, last, states), rules, searches: 0 };
    reduction.cut();
    reduction.begin_later();
    reduction.leave_out_reads();
    reduction.best
}

impl<'a> Reduction<'a, '_> {
    /// Takes these operations if they have no order. Returns whether they have none.
    fn take(&mut self, operations: Vec<&'a Operation>) -> bool {
        self.searches += 1;
        if self.searches > SEARCHES_MAX {
            return false;
        }
        let Err(End::Unordered(last, states)) = search(&operations, self.rules) else {
            return false;
        };
        self.best = (operations, last, states);
        self.cut();
        true
    }

    /// Leaves out what was requested later.
    fn cut(&mut self) {
        let (operations, last, _) = &mut self.best;
        let failed = operations[*last];
        let kept: Vec<&Operation> = requested_before(operations, *last).collect();
        *last = kept.iter().position(|it| std::ptr::eq(*it, failed)).unwrap_or_default();
        *operations = kept;
    }

    /// Begins at the last `SET` that no other operation overlaps, if that is possible. The lost
    /// operations before it stay, since they may take effect later.
    fn begin_later(&mut self) {
        let mut operations = self.best.0.clone();
        operations.sort_by_key(|it| it.invoked);
        let returned = |it: &Operation| it.returned.as_ref().map(|(at, _)| *at);
        let mut starts = Vec::new();
        let mut busy_until = None;
        for (number, operation) in operations.iter().enumerate() {
            let Some(end) = returned(operation) else { continue };
            let next = operations[number + 1..].iter().find(|it| returned(it).is_some());
            let is_alone = busy_until.is_none_or(|until| until < operation.invoked)
                && next.is_none_or(|next| next.invoked > end);
            if is_alone && is_blind(&operation.action) {
                starts.push(operation.invoked);
            }
            busy_until = busy_until.max(Some(end));
        }
        for start in starts.into_iter().rev() {
            let kept = |it: &&&Operation| it.returned.is_none() || it.invoked >= start;
            let kept = self.best.0.iter().filter(kept).copied().collect();
            if self.take(kept) || self.searches > SEARCHES_MAX {
                return;
            }
        }
    }

    /// Leaves out operations that change nothing, in ever smaller parts.
    fn leave_out_reads(&mut self) {
        let mut part = self.best.0.len().div_ceil(2);
        while part > 0 {
            let mut from = 0;
            while from < self.best.0.len() && self.searches <= SEARCHES_MAX {
                let within = from..from + part;
                let stays =
                    |at: usize, it: &Operation| !(within.contains(&at) && it.action.is_read());
                let all = self.best.0.iter().enumerate();
                let kept: Vec<_> =
                    all.filter(|(at, it)| stays(*at, it)).map(|(_, it)| *it).collect();
                let is_less = kept.len() < self.best.0.len();
                if !(is_less && self.take(kept)) {
                    from += part;
                }
            }
            part /= 2;
        }
    }
}
