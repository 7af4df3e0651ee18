//! A connection that another session goes on with.

use std::sync::Arc;

use super::Wire;
use crate::link::Link;
use crate::{NotSaved, Session};

impl<S> Wire<S> {
    /// Hands the connection over to `session`, which is new and gets the state of the present one,
    /// as if another process went on with it ([`Link::save`], [`Link::restored`]).
    ///
    /// # Errors
    /// When the connection has to stay. It goes on with its present session.
    ///
    /// # Panics
    /// When `session` does not restore what the present one saves.
    pub fn hand_over<A>(&mut self, session: S, app: &mut A) -> Result<(), NotSaved>
    where
        S: Session<A>,
    {
        let state = self.link.save(app, self.now)?;
        self.take_over(session, &state, app);
        self.run(app);
        Ok(())
    }

    /// Returns the state of the connection, which is frozen then, as [`Link::save`] does: for a test
    /// with a state of the application on each side.
    ///
    /// # Errors
    /// When the connection has to stay.
    pub fn save<A>(&mut self, app: &A) -> Result<Vec<u8>, NotSaved>
    where
        S: Session<A>,
    {
        self.link.save(app, self.now)
    }

    /// Goes on with `session`, which is new and gets `state`. It is called when the link runs next.
    ///
    /// # Panics
    /// When `session` does not restore the state.
    pub fn take_over<A>(&mut self, session: S, state: &[u8], app: &mut A)
    where
        S: Session<A>,
    {
        let limits = Arc::new(*self.link.limits());
        self.link = match Link::restored(session, limits, state, self.now, app) {
            Ok(link) => link,
            Err(error) => panic!("a session does not restore what it has saved: {error}"),
        };
    }
}
