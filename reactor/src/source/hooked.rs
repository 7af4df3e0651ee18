//! Sources made of a closure that is called around the wait.

use std::io;
use std::time::Duration;

use crate::{Cx, Found, Handler, Hook, LoopCx, Token};

/// A closure that is called before a wait.
struct Prepare<F>(F);

impl<A, F> Handler<A> for Prepare<F>
where
    F: FnMut(Option<Duration>, &mut LoopCx<'_, A>) -> Option<Duration>,
{
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn prepare(
        &mut self,
        wait: Option<Duration>,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Option<Duration>> {
        Ok((self.0)(wait, &mut cx.outside()))
    }
}

/// A closure that is called after a wait.
struct Check<F>(F);

impl<A, F: FnMut(Found, &mut LoopCx<'_, A>)> Handler<A> for Check<F> {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn check(&mut self, found: Found, cx: &mut Cx<'_, A>) -> io::Result<()> {
        (self.0)(found, &mut cx.outside());
        Ok(())
    }
}

/// A closure that is called when nothing else is to be done.
struct Idle<F>(F);

impl<A, F: FnMut(&mut LoopCx<'_, A>)> Handler<A> for Idle<F> {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn idle(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        (self.0)(&mut cx.outside());
        Ok(())
    }
}

impl<A: 'static, P> Cx<'_, A, P> {
    /// Calls `call` before the loop waits, with the time that it would wait (`None`: until the first
    /// event). `call` returns how long it may wait at most, counted from [`now`](Self::now), or `None`.
    /// Closing the token removes it.
    ///
    /// It is for what has to be done before a sleep, and for another library with a loop of its own.
    /// That library says how long it can wait, its descriptors are sources, and after the wait it
    /// handles what has come ([`on_check`](Self::on_check)):
    ///
    /// ```
    /// use reactor::Reactor;
    /// use std::time::Duration;
    ///
    /// /// Some library with timers of its own.
    /// #[derive(Default)]
    /// struct Library {
    ///     steps: u32,
    /// }
    ///
    /// impl Library {
    ///     fn next_timeout(&self) -> Option<Duration> {
    ///         Some(Duration::from_millis(1))
    ///     }
    ///
    ///     fn handle_timeouts(&mut self) {
    ///         self.steps += 1;
    ///     }
    /// }
    ///
    /// let mut reactor = Reactor::new(Library::default())?;
    /// let mut cx = reactor.cx();
    /// cx.on_prepare(|_wait, cx| cx.app.next_timeout())?;
    /// cx.on_check(|_found, cx| cx.app.handle_timeouts())?;
    /// reactor.run_until(|library| library.steps == 3)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn on_prepare(
        &mut self,
        call: impl FnMut(Option<Duration>, &mut LoopCx<'_, A>) -> Option<Duration> + 'static,
    ) -> io::Result<Token> {
        self.spawn_hooked(Hook::Prepare, Prepare(call))
    }

    /// Calls `call` after the loop has waited, before the handlers of what it has found. Closing the
    /// token removes it.
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn on_check(
        &mut self,
        call: impl FnMut(Found, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        self.spawn_hooked(Hook::Check, Check(call))
    }

    /// Calls `call` whenever the loop has nothing else to do. The loop does not sleep meanwhile, so
    /// `call` should do a part of some work each time, and close the token when that is done.
    ///
    /// ```
    /// use reactor::Reactor;
    ///
    /// let mut reactor = Reactor::new(0)?;
    /// let token = reactor.cx().on_idle(|cx| *cx.app += 1)?;
    /// reactor.run_until(|parts| *parts == 10)?;
    /// reactor.cx().close(token);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// A loop that is being dropped refuses.
    pub fn on_idle(&mut self, call: impl FnMut(&mut LoopCx<'_, A>) + 'static) -> io::Result<Token> {
        self.spawn_hooked(Hook::Idle, Idle(call))
    }

    fn spawn_hooked(
        &mut self,
        hook: Hook,
        handler: impl Handler<A> + 'static,
    ) -> io::Result<Token> {
        let token = self.spawn(handler)?;
        self.core.add_hook(token.tag_in(self.core.home), hook);
        Ok(token)
    }
}
