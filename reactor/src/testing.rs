//! A scripted backend with a virtual clock, for tests without sleeps.
