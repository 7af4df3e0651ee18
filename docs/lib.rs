//! The book, as a crate, so that its code is compiled and run by the tests.

#![forbid(unsafe_code)]

#[doc = include_str!("src/introduction.md")]
pub mod introduction {}

#[doc = include_str!("src/getting-started.md")]
pub mod getting_started {}

#[doc = include_str!("src/embedding.md")]
pub mod embedding {}

#[doc = include_str!("src/http.md")]
pub mod http {}

#[doc = include_str!("src/tls.md")]
pub mod tls {}

#[doc = include_str!("src/operating.md")]
pub mod operating {}

#[doc = include_str!("src/kv.md")]
pub mod kv {}

#[doc = include_str!("src/kv-speed.md")]
pub mod kv_speed {}

#[doc = include_str!("src/architecture.md")]
pub mod architecture {}

#[doc = include_str!("src/kv-cli.md")]
pub mod kv_cli {}

#[doc = include_str!("src/fetch.md")]
pub mod fetch {}

#[doc = include_str!("src/reading-order.md")]
pub mod reading_order {}

#[doc = include_str!("src/comparison.md")]
pub mod comparison {}

/// The examples in the packages' front pages.
#[cfg(doctest)]
pub mod readme {
    #[doc = include_str!("../protocol/README.md")]
    pub mod protocol {}

    #[doc = include_str!("../reactor/README.md")]
    pub mod reactor {}

    #[doc = include_str!("../servers/README.md")]
    pub mod servers {}

    #[doc = include_str!("../clients/README.md")]
    pub mod clients {}
}

#[doc = include_str!("src/requirements.md")]
pub mod requirements {}

#[doc = include_str!("src/coming-from.md")]
pub mod coming_from {}

#[doc = include_str!("src/endings.md")]
pub mod endings {}

#[doc = include_str!("src/testing.md")]
pub mod testing {}

#[doc = include_str!("src/storm.md")]
pub mod storm {}

#[doc = include_str!("src/link.md")]
pub mod link {}

#[doc = include_str!("src/calling.md")]
pub mod calling {}

#[doc = include_str!("src/datagrams.md")]
pub mod datagrams {}

#[doc = include_str!("src/machine.md")]
pub mod machine {}

#[doc = include_str!("src/heavy-work.md")]
pub mod heavy_work {}
