//! The programs of others that servers and clients are tested against.

/// Whether a peer program is there. Its absence is said aloud, and is a failure where peers are
/// required.
pub(crate) fn has_peer(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    });
    if !found {
        let required = std::env::var_os("REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{program} is required by REQUIRE_PEERS=1 and is not installed");
        eprintln!("SKIPPED: {program} is not installed, so nothing was tested against it");
    }
    found
}
