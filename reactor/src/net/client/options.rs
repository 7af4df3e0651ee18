//! The options of a client.

use std::io;
use std::time::Duration;

use protocol::Limits;

use crate::ConnectOptions;

/// What becomes of a connection that no request uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenIdle {
    /// It is kept. After this time without input, the client asks whether the server lives
    /// ([`Exchange::health`](protocol::Exchange::health)). A client that keeps its connection makes
    /// it at once, and again whenever it ends.
    KeepAlive(Duration),
    /// It is kept as with [`KeepAlive`](Self::KeepAlive), in a protocol in which each side speaks from
    /// time to time. After each such time the client gives a sign of life
    /// ([`Exchange::sign_of_life`](protocol::Exchange::sign_of_life)), whatever else is under way. When
    /// the server has said nothing for as many of them as
    /// [`silence_max`](ClientOptions::silence_max) has, the connection ends.
    ///
    /// Silence is counted in signs of life, so a pause of this process counts as one at most. A sign of
    /// life is no evidence that the server lives: it does not shorten the pauses between attempts.
    Pulse(Duration),
    /// It is closed after this time without a request, unless the protocol needs it
    /// ([`Exchange::is_needed`](protocol::Exchange::is_needed)). A client that lets its connection go
    /// makes one when a request waits.
    LetGo(Duration),
}

/// How long a connection is kept that no request uses while the loop winds down.
pub(super) const DRAINING_IDLE: Duration = Duration::from_millis(50);

/// What a client does while its loop winds down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenStopping {
    /// It takes no requests. It sends those that it has if there is a connection, and ends when it has
    /// their replies.
    Finish,
    /// It goes on until the loop has ended, and connects when a request waits. A connection that no
    /// request uses for 50 ms is closed, since the loop waits for its end. This is for programs that
    /// still owe answers, and need further requests for them.
    GoOn,
}

/// The options of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How a connection is made. Its timeout bounds how long resolving the name and connecting take
    /// together, and again how long opening the connection for requests may take.
    pub connect: ConnectOptions,
    /// The limits of a connection. Default [`Limits::DEFAULT`], except that `output_max` is not
    /// needed: the client itself bounds what it sends.
    pub limits: Limits,
    /// How long a request may take from the call to its reply, unless the call says otherwise.
    /// Default 10 s: longer than a lost connection takes to be made again.
    pub timeout: Duration,
    /// How many requests may wait to be sent. Default 10,000: at 100,000 requests a second, those of
    /// a tenth of a second.
    pub waiting_max: usize,
    /// How many bytes of requests may wait to be sent. Default 64 MiB.
    pub waiting_bytes_max: usize,
    /// How many requests may be in flight: sent, and without their reply. Default 1,000: at 100,000
    /// requests a second, those of a round trip of 10 ms.
    pub in_flight_max: usize,
    /// Whether requests wait until a connection can be made again. Default true. If not, an attempt
    /// that fails completes all that wait with [`NotSent::Down`](crate::NotSent::Down), as does a
    /// lost connection what it has not sent, and further requests are refused until there is a
    /// connection.
    pub waits: bool,
    /// The first pause before connecting again is shorter than this, and the bound doubles with each
    /// failure. Default 100 ms.
    ///
    /// Each pause is drawn evenly from zero to its bound ("full jitter"), so that many clients of a
    /// server that has failed do not come back at once.
    pub pause_min: Duration,
    /// The largest bound of a pause. Default 10 s.
    pub pause_max: Duration,
    /// The start of the random numbers. With `None`, the default, each client has its own, which the
    /// system makes at random: clients of equal programs that start together do not come back
    /// together.
    pub seed: Option<u64>,
    /// What becomes of a connection that no request uses. Default: it is kept alive, with a question
    /// after 30 s.
    pub when_idle: WhenIdle,
    /// What it does while its loop winds down. Default: it finishes.
    pub when_stopping: WhenStopping,
    /// How long a server that owes replies may be silent once a request has timed out, and how long
    /// the answer to a question whether it lives may take; with [`WhenIdle::Pulse`], how long it may be
    /// silent at all. After that the connection is cut.
    /// Default 5 s.
    pub silence_max: Duration,
}

impl ClientOptions {
    /// The defaults. Each field explains its own.
    pub const DEFAULT: Self = Self {
        connect: ConnectOptions::DEFAULT,
        limits: Limits { output_max: u64::MAX, ..Limits::DEFAULT },
        timeout: Duration::from_secs(10),
        waiting_max: 10_000,
        waiting_bytes_max: 64 * 1024 * 1024,
        in_flight_max: 1000,
        waits: true,
        pause_min: Duration::from_millis(100),
        pause_max: Duration::from_secs(10),
        seed: None,
        when_idle: WhenIdle::KeepAlive(Duration::from_secs(30)),
        when_stopping: WhenStopping::Finish,
        silence_max: Duration::from_secs(5),
    };

    /// Checks whether these options can be worked with.
    pub(super) fn check(&self) -> io::Result<()> {
        self.limits.check()?;
        let idle = match self.when_idle {
            WhenIdle::KeepAlive(idle) | WhenIdle::Pulse(idle) | WhenIdle::LetGo(idle) => idle,
        };
        let sizes = [
            ("timeout", self.timeout.is_zero()),
            ("waiting_max", self.waiting_max == 0),
            ("waiting_bytes_max", self.waiting_bytes_max == 0),
            ("in_flight_max", self.in_flight_max == 0),
            ("pause_min", self.pause_min.is_zero()),
            ("silence_max", self.silence_max.is_zero()),
            ("when_idle", idle.is_zero()),
        ];
        let wrong = match sizes.iter().find(|(_, is_zero)| *is_zero) {
            Some((field, _)) => {
                format!("the option {field} of a client is 0, which allows nothing")
            }
            None if self.pause_max < self.pause_min => {
                "pause_min of a client must be at most pause_max".to_owned()
            }
            None => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}
