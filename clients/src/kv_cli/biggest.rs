//! Finds the biggest key of each type, by elements or by memory.

use protocol::resp::text::repr;

use super::options::Mode;
use super::scan::{Scan, fatal};
use super::session::{Session, Trouble, print_all};
use crate::output::complain;
use crate::resp::Answer;

/// The number of `SCAN` steps between two pauses.
const STEPS_BETWEEN_PAUSES: u64 = 100;

/// The number of keys between two lines of progress.
const KEYS_BETWEEN_REPORTS: u64 = 1_000_000;

/// The types of values, the command that returns the size of a value, and the unit of that size.
const TYPES: [(&str, &str, &str); 6] = [
    ("list", "LLEN", "items"),
    ("hash", "HLEN", "fields"),
    ("string", "STRLEN", "bytes"),
    ("stream", "XLEN", "entries"),
    ("set", "SCARD", "members"),
    ("zset", "ZCARD", "members"),
];

/// The results for one type.
struct Found {
    name: String,
    /// The command that returns the size, if there is one.
    size_command: Option<&'static str>,
    unit: &'static str,
    count: u64,
    size: u64,
    /// The size of the biggest key.
    biggest: u64,
    /// The quoted name of the biggest key, once one was found.
    biggest_key: Option<String>,
}

impl Found {
    fn new(name: &str) -> Self {
        let known = TYPES.iter().find(|it| it.0 == name);
        Self {
            name: name.to_owned(),
            size_command: known.map(|it| it.1),
            unit: known.map_or("?", |it| it.2),
            count: 0,
            size: 0,
            biggest: 0,
            biggest_key: None,
        }
    }
}

/// The results so far.
struct Search {
    by_memory: bool,
    found: Vec<Found>,
    /// The number of keys that were examined.
    sampled: u64,
    /// The total length of their names, in bytes.
    names_size: u64,
    /// The estimated share of the keys that were examined before the last step.
    percent: f64,
}

/// Finds and prints the biggest key of each type, and a summary of each type.
pub(super) fn find(session: &mut Session) -> Result<(), Trouble> {
    let by_memory = session.settings.mode == Mode::MemoryKeys;
    let answer = session.call(&[b"DBSIZE".to_vec()], "Couldn't determine DBSIZE")?;
    let Answer::Integer(total) = answer else {
        return Err(fatal("Non INTEGER response from DBSIZE!"));
    };
    print_all(
        b"\n# Scanning the entire keyspace to find biggest keys as well as\n\
          # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
          # per 100 SCAN commands (not usually needed).\n\n",
    );
    let found = TYPES.iter().map(|it| Found::new(it.0)).collect();
    let mut search = Search { by_memory, found, sampled: 0, names_size: 0, percent: 0.0 };
    let (mut scan, mut steps) = (Scan::begin(session), 0_u64);
    while let Some(keys) = scan.next(session)? {
        steps += 1;
        search.percent = 100.0 * search.sampled as f64 / total.max(1) as f64;
        search.look_at(session, &keys)?;
        if steps.is_multiple_of(STEPS_BETWEEN_PAUSES) {
            session.interrupts.pause(session.settings.interval);
        }
    }
    print_all(search.summary(session.interrupts.peek()).as_bytes());
    Ok(())
}

impl Search {
    fn look_at(&mut self, session: &mut Session, keys: &[Vec<u8>]) -> Result<(), Trouble> {
        let types = self.types(session, keys)?;
        let sizes = self.sizes(session, keys, &types)?;
        for ((key, kind), size) in keys.iter().zip(types).zip(sizes) {
            let Some(kind) = kind else { continue };
            self.add(kind, key, size);
        }
        Ok(())
    }

    /// Returns the type of each key as an index into `found`, or None for a key that no longer
    /// exists.
    fn types(
        &mut self,
        session: &mut Session,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<usize>>, Trouble> {
        let commands = keys.iter().map(|key| vec![b"TYPE".to_vec(), key.clone()]).collect();
        let answers = session.call_all(commands)?;
        let types = answers.into_iter().map(|answer| match answer {
            Ok(Answer::Simple(name)) if name == b"none" => Ok(None),
            Ok(Answer::Simple(name)) => Ok(Some(self.place(&String::from_utf8_lossy(&name)))),
            Ok(_) => Err(fatal("Invalid reply type for TYPE!")),
            Err(words) => Err(fatal(&format!("TYPE returned an error: {words}"))),
        });
        types.collect()
    }

    /// Returns the index of the results for a type. Adds types that are not known yet, such as
    /// those of modules.
    fn place(&mut self, name: &str) -> usize {
        let place = self.found.iter().position(|found| found.name == name);
        place.unwrap_or_else(|| {
            self.found.push(Found::new(name));
            self.found.len() - 1
        })
    }

    /// Returns the size of each key. It is 0 if the key no longer exists, if its type has changed,
    /// or if its type has no size.
    fn sizes(
        &self,
        session: &mut Session,
        keys: &[Vec<u8>],
        types: &[Option<usize>],
    ) -> Result<Vec<u64>, Trouble> {
        let samples = session.settings.memory_samples;
        let command = |key: &Vec<u8>, kind: usize| {
            let mut command = Vec::new();
            if self.by_memory {
                command.extend([b"MEMORY".to_vec(), b"USAGE".to_vec(), key.clone()]);
                if samples != 0 {
                    command.extend([b"SAMPLES".to_vec(), samples.to_string().into_bytes()]);
                }
            } else {
                let name = self.found[kind].size_command?;
                command.extend([name.as_bytes().to_vec(), key.clone()]);
            }
            Some(command)
        };
        let asked = keys.iter().zip(types).map(|(key, kind)| command(key, (*kind)?));
        let asked: Vec<Option<Vec<Vec<u8>>>> = asked.collect();
        let commands = asked.iter().flatten().cloned().collect();
        let mut answers = session.call_all(commands)?.into_iter();
        let sizes = keys.iter().zip(asked).map(|(key, command)| {
            let Some(command) = command else { return 0 };
            if let Some(Ok(Answer::Integer(size))) = answers.next() {
                return u64::try_from(size).unwrap_or(0);
            }
            let what = if self.by_memory {
                "MEMORY USAGE".into()
            } else {
                String::from_utf8_lossy(&command[0])
            };
            let key = String::from_utf8_lossy(key);
            complain(format_args!("Warning:  {what} on '{key}' failed (may have changed type)"));
            0
        });
        Ok(sizes.collect())
    }

    fn unit(&self, found: &Found) -> &'static str {
        if self.by_memory { "bytes" } else { found.unit }
    }

    fn add(&mut self, kind: usize, key: &[u8], size: u64) {
        self.names_size += key.len() as u64;
        self.sampled += 1;
        let unit = self.unit(&self.found[kind]);
        let found = &mut self.found[kind];
        found.count += 1;
        found.size += size;
        if size > found.biggest {
            let mut quoted = Vec::new();
            repr(key, &mut quoted);
            let quoted = String::from_utf8_lossy(&quoted).into_owned();
            let (percent, name) = (self.percent, &found.name);
            let text = format!(
                "[{percent:05.2}%] Biggest {name:<6} found so far '{quoted}' with {size} {unit}\n"
            );
            print_all(text.as_bytes());
            (found.biggest, found.biggest_key) = (size, Some(quoted));
        }
        if self.sampled.is_multiple_of(KEYS_BETWEEN_REPORTS) {
            let text = format!("[{:05.2}%] Sampled {} keys so far\n", self.percent, self.sampled);
            print_all(text.as_bytes());
        }
    }

    fn summary(&self, interrupted: bool) -> String {
        let mut text = "\n-------- summary -------\n\n".to_owned();
        if interrupted {
            text.push_str(&format!("[{:05.2}%] ", self.percent));
        }
        let Self { sampled, names_size, .. } = *self;
        let average = names_size as f64 / sampled.max(1) as f64;
        text.push_str(&format!(
            "Sampled {sampled} keys in the keyspace!\n\
             Total key length in bytes is {names_size} (avg len {average:.2})\n\n"
        ));
        let order = self.order();
        for found in &order {
            let Found { name, biggest, biggest_key: Some(key), .. } = found else { continue };
            let unit = self.unit(found);
            text.push_str(&format!("Biggest {name:>6} found '{key}' has {biggest} {unit}\n"));
        }
        text.push('\n');
        for found in order {
            let Found { name, count, size, .. } = found;
            let unit = self.unit(found);
            let percent = 100.0 * *count as f64 / sampled.max(1) as f64;
            let average = *size as f64 / (*count).max(1) as f64;
            text.push_str(&format!(
                "{count} {name}s with {size} {unit} ({percent:05.2}% of keys, avg size \
                 {average:.2})\n"
            ));
        }
        text
    }

    /// Returns the results in the order in which `redis-cli` prints them: each of the first two
    /// keys moves its table of types by one place.
    fn order(&self) -> Vec<&Found> {
        let first = match self.sampled {
            0 => [1, 0, 2],
            1 => [2, 0, 1],
            _ => [0, 1, 2],
        };
        let rest = first.len()..self.found.len();
        first.into_iter().chain(rest).map(|place| &self.found[place]).collect()
    }
}
