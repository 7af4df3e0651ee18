//! The calendar: dates, cron expressions, time zones, and when a schedule is due.

mod civil;
pub(crate) mod cron;
mod parse;
pub(crate) mod schedule;
mod zone;
