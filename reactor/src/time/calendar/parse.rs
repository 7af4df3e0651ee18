//! The parser of cron expressions.

use super::cron::{Cron, CronError, CronField};

/// The longest expression, in bytes: longer ones come from no person.
const LENGTH_MAX: usize = 256;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The names of whole expressions.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

fn wrong<T>(
    field: Option<CronField>,
    position: usize,
    problem: impl Into<String>,
) -> Result<T, CronError> {
    Err(CronError { field, position, problem: problem.into() })
}

/// Returns the words of a text, with their positions.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr() as usize;
    text.split_ascii_whitespace().map(move |word| (word.as_ptr() as usize - start, word))
}

/// Parses an expression: five fields, or a name.
pub(super) fn parse(text: &str) -> Result<Cron, CronError> {
    if text.len() > LENGTH_MAX {
        let problem = format!("it has {} bytes, of at most {LENGTH_MAX}", text.len());
        return wrong(None, LENGTH_MAX, problem);
    }
    let text = match words(text).next() {
        Some((at, name)) if name.starts_with('@') => expand(text, at, name)?,
        _ => text,
    };
    let mut words = words(text);
    let mut sets = [(0, false, 0); 5];
    for (set, field) in sets.iter_mut().zip(CronField::ALL) {
        let Some((at, word)) = words.next() else {
            let problem = "it is missing; an expression has five fields, such as \"30 4 * * mon\"";
            return wrong(Some(field), text.len(), problem);
        };
        *set = (self::field(field, at, word)?, word.starts_with('*'), at);
    }
    if let Some((at, word)) = words.next() {
        return wrong(None, at, format!("\"{word}\" is too much; an expression has five fields"));
    }
    let [minutes, hours, days, months, weekdays] = sets;
    let either_day = !days.1 && !weekdays.1;
    // Sunday has two numbers.
    let weekdays = (weekdays.0 | weekdays.0 >> 7) & 0x7F;
    let cron = Cron {
        minutes: minutes.0,
        hours: hours.0,
        days: days.0,
        months: months.0,
        weekdays,
        either_day,
    };
    if !either_day && !has_date(&cron) {
        return wrong(
            Some(CronField::DayOfMonth),
            days.2,
            "no month of the expression has that day",
        );
    }
    Ok(cron)
}

/// Returns the expression that a name stands for.
fn expand(text: &str, at: usize, name: &str) -> Result<&'static str, CronError> {
    if let Some((at, word)) = words(text).nth(1) {
        return wrong(None, at, format!("\"{word}\" is too much behind {name}"));
    }
    let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, expression)| *expression).map_or_else(
        || {
            let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            wrong(None, at, format!("\"{name}\" is unknown; there are {}", known.join(", ")))
        },
        Ok,
    )
}

/// Returns whether a month of the expression has one of its days.
fn has_date(cron: &Cron) -> bool {
    let longest = |month| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let first = cron.days.trailing_zeros();
    (1..=12).any(|month| cron.months >> month & 1 == 1 && first <= longest(month))
}

/// Parses a field: a list of parts.
fn field(field: CronField, at: usize, text: &str) -> Result<u64, CronError> {
    let mut set = 0;
    let mut position = at;
    for part in text.split(',') {
        set |= self::part(field, position, part)?;
        position += part.len() + 1;
    }
    Ok(set)
}

/// Parses a part of a field: a value, a range, or all values, with a step.
fn part(field: CronField, at: usize, text: &str) -> Result<u64, CronError> {
    let (values, step) = match text.split_once('/') {
        Some((values, step)) => (values, Some((at + values.len() + 1, step))),
        None => (text, None),
    };
    let (least, greatest) = field.range();
    let (from, to) = match values.split_once('-') {
        _ if values == "*" => (least, greatest),
        Some((from, to)) => {
            let low = value(field, at, from)?;
            let high = value(field, at + from.len() + 1, to)?;
            if low > high {
                return wrong(Some(field), at, format!("the range {values} runs backwards"));
            }
            (low, high)
        }
        None => {
            let only = value(field, at, values)?;
            if step.is_some() {
                let problem = format!("a step needs a range, such as {values}-{greatest}, or *");
                return wrong(Some(field), at, problem);
            }
            (only, only)
        }
    };
    let step = match step {
        None => 1,
        Some((at, text)) => match number(text) {
            Some(step) if step > 0 && step <= greatest => step,
            _ => {
                let problem = format!("\"{text}\" is no step from 1 to {greatest}");
                return wrong(Some(field), at, problem);
            }
        },
    };
    Ok((from..=to).step_by(step as usize).fold(0, |set, value| set | 1 << value))
}

/// Parses a value: a number, or the name of a month or of a day of the week.
fn value(field: CronField, at: usize, text: &str) -> Result<u32, CronError> {
    let (least, greatest) = field.range();
    let names: &[&str] = match field {
        CronField::Month => &MONTHS,
        CronField::DayOfWeek => &WEEKDAYS,
        CronField::Minute | CronField::Hour | CronField::DayOfMonth => &[],
    };
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match named.map(|index| index as u32 + least).or_else(|| number(text)) {
        Some(value) if (least..=greatest).contains(&value) => Ok(value),
        _ => {
            let or = names.first().map(|name| format!(", nor a name such as {name}"));
            let or = or.unwrap_or_default();
            let problem = format!("\"{text}\" is no number from {least} to {greatest}{or}");
            wrong(Some(field), at, problem)
        }
    }
}

/// Parses a number of one or two digits.
fn number(text: &str) -> Option<u32> {
    let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::super::civil::{DAY, Date};
    use super::*;

    fn at(year: i64, month: u32, day: u32, hour: i64, minute: i64) -> i64 {
        Date { year, month, day }.day() * DAY + hour * 3600 + minute * 60
    }

    fn cron(text: &str) -> Cron {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn expressions_match_what_crontab_says() {
        let start = at(2026, 11, 28, 4, 55) + 17;
        for (text, expected) in [
            ("* * * * *", at(2026, 11, 28, 4, 56)),
            ("*/15 * * * *", at(2026, 11, 28, 5, 0)),
            ("55 4 * * *", at(2026, 11, 29, 4, 55)),
            ("5,10-20/5 6-8 * * *", at(2026, 11, 28, 6, 5)),
            ("0 0 1 jan *", at(2027, 1, 1, 0, 0)),
            ("0 0 29 2 *", at(2028, 2, 29, 0, 0)),
            ("0 0 31 * *", at(2026, 12, 31, 0, 0)),
            ("30 4 * * mon-fri", at(2026, 11, 30, 4, 30)),
            ("30 4 * * 7", at(2026, 11, 29, 4, 30)),
            ("30 4 * * SUN", at(2026, 11, 29, 4, 30)),
            // Either day is enough if both are given, and both are needed if one has a star.
            ("0 12 15 * sun", at(2026, 11, 29, 12, 0)),
            ("0 12 */31 * tue", at(2026, 12, 1, 12, 0)),
            ("@hourly", at(2026, 11, 28, 5, 0)),
            ("@daily", at(2026, 11, 29, 0, 0)),
            ("  @WEEKLY ", at(2026, 11, 29, 0, 0)),
            ("@monthly", at(2026, 12, 1, 0, 0)),
            ("@yearly", at(2027, 1, 1, 0, 0)),
        ] {
            assert_eq!(cron(text).next(start), Some(expected), "{text}");
        }
        assert_eq!(cron("@annually"), cron("@yearly"));
        assert_eq!(cron("@midnight"), cron("@daily"));
        // 2100 is no leap year.
        assert_eq!(cron("0 0 29 2 *").next(at(2096, 3, 1, 0, 0)), Some(at(2104, 2, 29, 0, 0)));
    }

    #[test]
    fn errors_name_the_field_and_the_position() {
        let long = "*".repeat(LENGTH_MAX + 1);
        for (text, position, expected) in [
            ("", 0, "minute, at character 1: it is missing"),
            ("* * * *", 7, "day of the week, at character 8: it is missing"),
            ("60 * * * *", 0, "minute, at character 1: \"60\" is no number from 0 to 59"),
            ("* 24 * * *", 2, "hour, at character 3: \"24\" is no number"),
            ("*  1,2,x * * *", 7, "hour, at character 8: \"x\" is no number from 0 to 23"),
            ("* * 0 * *", 4, "day of the month, at character 5: \"0\" is no number from 1 to 31"),
            (
                "* * * foo *",
                6,
                "month, at character 7: \"foo\" is no number from 1 to 12, nor a name",
            ),
            ("* * * * 8", 8, "day of the week, at character 9: \"8\""),
            ("5-1 * * * *", 0, "minute, at character 1: the range 5-1 runs backwards"),
            ("5/2 * * * *", 0, "minute, at character 1: a step needs a range, such as 5-59, or *"),
            ("*/0 * * * *", 2, "minute, at character 3: \"0\" is no step from 1 to 59"),
            ("1-5/ * * * *", 4, "minute, at character 5: \"\" is no step"),
            ("1,,2 * * * *", 2, "minute, at character 3: \"\" is no number"),
            ("1- * * * *", 2, "minute, at character 3: \"\" is no number"),
            ("-1 * * * *", 0, "minute, at character 1: \"\" is no number"),
            ("+1 * * * *", 0, "minute, at character 1: \"+1\" is no number"),
            ("001 * * * *", 0, "minute, at character 1: \"001\" is no number"),
            ("* * 30 2 *", 4, "day of the month, at character 5: no month of the expression"),
            ("* * * * * *", 10, "cron expression, at character 11: \"*\" is too much"),
            (
                "@reboot",
                0,
                "cron expression, at character 1: \"@reboot\" is unknown; there are @yearly",
            ),
            (" @daily x", 8, "cron expression, at character 9: \"x\" is too much behind @daily"),
            (&long, LENGTH_MAX, "cron expression, at character 257: it has 257 bytes"),
        ] {
            let error = text.parse::<Cron>().expect_err(text);
            assert_eq!(error.position(), position, "{text}: {error}");
            assert!(error.to_string().starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_is_found_by_looking() {
        let mut random = testkit::Random::new(1);
        let pieces =
            ["*", "*/7", "0", "59", "3-9/2", "1,5", "jan", "sun-wed", "7", "31", "-", "é", "/"];
        let mut taken = 0;
        for _ in 0..60_000 {
            let mut text = String::new();
            for _ in 0..5 {
                text.push_str(pieces[random.index(pieces.len())]);
                text.push_str([" ", " ", " ", "\t", ""][random.index(5)]);
            }
            let Ok(cron) = text.parse::<Cron>() else { continue };
            taken += 1;
            let start = at(2020, 1, 1, 0, 0) + random.below(5 * 366 * 86_400) as i64;
            let found = cron.next(start).unwrap_or_else(|| panic!("{text}: never"));
            let is_match = |time: i64| {
                let date = Date::of(time.div_euclid(DAY));
                let by_month = cron.days >> date.day & 1 == 1;
                let by_week =
                    cron.weekdays >> super::super::civil::weekday(time.div_euclid(DAY)) & 1;
                let has_day = match cron.either_day {
                    true => by_month || by_week == 1,
                    false => by_month && by_week == 1,
                };
                let minute = time.rem_euclid(DAY) / 60;
                has_day
                    && cron.months >> date.month & 1 == 1
                    && cron.hours >> (minute / 60) & 1 == 1
                    && cron.minutes >> (minute % 60) & 1 == 1
            };
            assert!(found > start && found % 60 == 0 && is_match(found), "{text}");
            // A look at each minute of up to four days finds no earlier one.
            let minutes = (start / 60 + 1..found / 60).take(4 * 1440);
            minutes.for_each(|minute| assert!(!is_match(minute * 60), "{text} {minute}"));
        }
        assert!(taken > 500, "{taken}");
    }
}
