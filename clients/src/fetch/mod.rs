//! The tool `fetch`: transfers URLs, several at a time on one loop.

pub(crate) mod exit;
mod file;
mod options;
mod plan;
pub(crate) mod progress;
mod run;
mod state;
mod stdin;
mod transfer;

pub use exit::Failed;
pub use options::{Cli, Offset};

/// Carries out what the arguments ask for, and prints what goes wrong. Returns the exit code.
pub fn fetch(cli: &Cli) -> u8 {
    let plan = plan::plan(cli, |name| std::env::var(name).ok());
    match plan.and_then(run::run) {
        Ok(code) => code,
        Err(failed) => {
            if !failed.text.is_empty() {
                crate::output::complain(format_args!("fetch: {}", failed.text));
            }
            failed.code
        }
    }
}
