//! Rows as a table, as lines and as JSON.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::output::json_text;
use crate::sentinel::{Kind, Place, Row, State, Status, View};

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table that is redrawn.
    Screen,
    /// A line of text for each change.
    Lines,
    /// A JSON object on a line for each change.
    Json,
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Master => "master",
        Kind::Replica => "replica",
        Kind::Named => "named as master",
        Kind::Sentinel => "sentinel",
    }
}

/// Returns the role that the sentinels and the server itself say, if they differ.
fn role(row: &Row) -> String {
    let said = kind(row.kind);
    match row.status.role {
        Some(role) if role != said => format!("{said}, says {role}"),
        _ => said.to_owned(),
    }
}

/// Returns what is the matter with a server.
fn condition(status: &Status) -> String {
    let mut text = match &status.state {
        State::New => "not asked yet".to_owned(),
        State::Up => "up".to_owned(),
        State::Down(_) => "down".to_owned(),
    };
    if status.link_is_up == Some(false) && status.state == State::Up {
        text.push_str(", without its master");
    }
    if status.is_failing_over {
        text.push_str(", failover in progress");
    }
    text
}

/// Returns in whose eyes a server is down.
fn down_for(status: &Status) -> String {
    let names: Vec<String> = status.down_for.iter().map(Place::to_string).collect();
    match (names.is_empty(), status.is_agreed_down) {
        (true, _) => "-".to_owned(),
        (false, true) => format!("{} (agreed)", names.join(" ")),
        (false, false) => names.join(" "),
    }
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or("-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
}

/// Returns how far a replica is behind, or how old the last hello of a sentinel is.
fn lag(row: &Row) -> String {
    let seconds = |time: Duration| format!("{} s", time.as_secs());
    match row.kind {
        Kind::Sentinel => {
            row.figures.hello.map_or("-".to_owned(), |it| format!("hello {}", seconds(it)))
        }
        _ => match (row.figures.behind, row.figures.lag) {
            (Some(bytes), Some(time)) => format!("{bytes} B, {}", seconds(time)),
            (Some(bytes), None) => format!("{bytes} B"),
            _ => "-".to_owned(),
        },
    }
}

/// Returns a table with a part for each master. While there is none, it names the sentinels that
/// fail.
pub(super) fn table(rows: &[Row], view: &View) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("No sentinel has named a master yet.\n");
        add_failures(view.failed_sentinels(), &mut text);
    }
    for group in rows.chunk_by(|a, b| a.master == b.master) {
        let count = |kind: Kind| group.iter().filter(|row| row.kind == kind).count();
        let epoch = group.iter().filter(|row| row.kind == Kind::Master);
        let epoch = epoch.filter_map(|row| row.figures.epoch).max().unwrap_or(0);
        let name = &group[0].master;
        let replicas = counted(count(Kind::Replica), "replica");
        let sentinels = counted(count(Kind::Sentinel), "sentinel");
        let _ = writeln!(text, "{name}: {replicas}, {sentinels}, epoch {epoch}");
        let head = ["ROLE", "ADDRESS", "STATE", "PING", "LAG", "DOWN FOR"].map(str::to_owned);
        let lines = group.iter().map(|row| {
            let address = row.place.to_string();
            let ping = milliseconds(row.figures.ping);
            [role(row), address, condition(&row.status), ping, lag(row), down_for(&row.status)]
        });
        let lines: Vec<[String; 6]> = [head].into_iter().chain(lines).collect();
        add_columns(&lines, &mut text);
    }
    let whys = rows.iter().filter_map(|row| match &row.status.state {
        State::Down(why) => Some((&row.place, why.as_str())),
        State::New | State::Up => None,
    });
    add_failures(whys, &mut text);
    text
}

/// Returns a number of things in words: `1 replica`, `2 replicas`.
fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

fn add_failures<'a>(all: impl Iterator<Item = (&'a Place, &'a str)>, text: &mut String) {
    for (place, why) in all {
        let _ = writeln!(text, "{place}: {}", why.escape_default());
    }
}

fn add_columns(lines: &[[String; 6]], text: &mut String) {
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for line in lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
}

/// Returns a change as a line: text or JSON. Text says why a server is down only once.
pub(super) fn line(row: &Row, form: Form, was_down: bool) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match form {
        Form::Json => json(row, since),
        Form::Screen | Form::Lines => {
            let why = match &row.status.state {
                State::Down(why) if !was_down => format!(": {}", why.escape_default()),
                State::Down(_) | State::New | State::Up => String::new(),
            };
            let (name, place, role) = (&row.master, &row.place, role(row));
            let (state, down) = (condition(&row.status), down_for(&row.status));
            let down = if down == "-" { down } else { format!("down for {down}") };
            let down = if down == "-" { String::new() } else { format!(", {down}") };
            format!("{:.3} {name} {role} {place} {state}{why}{down}\n", since.as_secs_f64())
        }
    }
}

fn json(row: &Row, since: Duration) -> String {
    let or_null = |value: Option<String>| value.unwrap_or("null".to_owned());
    let number = |value: Option<u128>| or_null(value.map(|it| it.to_string()));
    let (status, figures) = (&row.status, &row.figures);
    let (state, why) = match &status.state {
        State::New => ("new", None),
        State::Up => ("up", None),
        State::Down(why) => ("down", Some(json_text(why))),
    };
    let down: Vec<String> = status.down_for.iter().map(|it| json_text(&it.to_string())).collect();
    let fields = [
        ("time", format!("{:.3}", since.as_secs_f64())),
        ("master", json_text(&row.master)),
        ("kind", json_text(kind(row.kind))),
        ("address", json_text(&row.place.to_string())),
        ("state", json_text(state)),
        ("why", or_null(why)),
        ("role", or_null(status.role.map(json_text))),
        ("link_up", or_null(status.link_is_up.map(|it| it.to_string()))),
        ("down_for", format!("[{}]", down.join(","))),
        ("agreed_down", status.is_agreed_down.to_string()),
        ("failing_over", status.is_failing_over.to_string()),
        ("named_by", status.named_by.to_string()),
        ("ping_us", number(figures.ping.map(|it| it.as_micros()))),
        ("offset", or_null(figures.offset.map(|it| it.to_string()))),
        ("behind", or_null(figures.behind.map(|it| it.to_string()))),
        ("lag_s", number(figures.lag.map(|it| u128::from(it.as_secs())))),
        ("hello_ms", number(figures.hello.map(|it| it.as_millis()))),
        ("epoch", number(figures.epoch.map(u128::from))),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, it)| format!("\"{name}\":{it}")).collect();
    format!("{{{}}}\n", fields.join(","))
}
