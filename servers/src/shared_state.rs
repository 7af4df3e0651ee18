//! The state that all connections of a server share, for a new program that takes over from it.

use protocol::{SavedState, State, StateError};

/// The state that the connections of a server share, as pieces for a new program that takes over
/// together with them. The connections are frozen while the state is written, so that it changes no
/// more ([`Cx::hand_over_together`](reactor::Cx::hand_over_together)). A server
/// names it in [`Application::shared`](crate::Application::shared).
///
/// In the old program, [`freeze`](Self::freeze) comes first, then [`save`](Self::save) until there is
/// no more, and at the end either [`departed`](Self::departed) or [`stays`](Self::stays). The new
/// program calls [`restore`](Self::restore) with each piece, and [`restored`](Self::restored).
pub trait SharedState {
    /// Prepares for being saved. No session is called until [`stays`](Self::stays) or
    /// [`departed`](Self::departed) is.
    fn freeze(&mut self);

    /// Writes the next piece into `piece`, which is empty. A piece has some 100 KiB at most, so that
    /// there is never a second copy of the whole state.
    fn save(&mut self, piece: &mut State) -> Progress;

    /// Takes the next piece. The state is new.
    ///
    /// # Errors
    /// When it is not what [`save`](Self::save) writes. The state cannot be used then.
    fn restore(&mut self, piece: SavedState<'_>) -> Result<(), StateError>;

    /// Checks that the state is whole. The connections follow.
    ///
    /// # Errors
    /// When a piece is missing.
    fn restored(&mut self) -> Result<(), StateError>;

    /// Goes on here: the new program does not take over.
    fn stays(&mut self);

    /// Belongs to the new program from now on. A session that is called in this one ends its
    /// connection and does nothing else.
    fn departed(&mut self);

    /// Returns how much there is, in words for the log.
    fn extent(&self) -> String;
}

/// What follows a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More pieces.
    More,
    /// Nothing: the state is whole.
    Whole,
}
