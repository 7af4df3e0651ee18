//! Answers that need no other server: of hosts files, `--record`, `--address` and block lists, and the
//! choice of upstreams by `--server /domain/ADDRESS`.
//!
//! A name that has records or addresses here is answered here for every type, so no answer about it
//! contradicts another. After these come the rules of `--address`, then the block lists, then those of `--server`.
//! What is left of `localhost` leads to this host.

mod args;
mod block;
#[cfg(any(test, fuzzing))]
mod checks;
mod hosts;
mod lines;
mod records;
mod rules;

use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use protocol::dns::{
    Builder, Class, Full, Name, Question, Record, RecordData, RecordType, RecordView, ResponseCode,
    Section,
};

use self::block::Blocked;
use self::records::{ALIASES_MAX, RECORDS_MAX, Records, alias_target, of_kind};
use self::rules::{Decision, Rules};
use super::lower_name::{LowerName, suffixes};

pub(super) use self::args::LocalArgs;
#[cfg(fuzzing)]
pub use self::checks::check_local_files;
pub(super) use self::lines::FileError;
pub(super) use self::rules::{AddressRule, ServerTarget, parse_address_rule, split_domains};

/// What leads nowhere.
const NULL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// The domain whose names always lead to this host (RFC 6761 section 6.3), in the form of messages.
const LOCALHOST: &[u8] = b"\x09localhost\0";
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// The size of the buffer for reading files, in bytes.
const READ_SIZE: usize = 64 * 1024;

/// What the server knows of its own. It is made anew when its files change.
#[derive(Debug, Default)]
pub(super) struct Local {
    records: Records,
    rules: Rules,
    blocked: Blocked,
    /// What names on block lists have. Without any, they do not exist.
    blocked_addresses: Vec<RecordData>,
    /// What names of `localhost` have that no file and no rule knows.
    loopback: Vec<RecordData>,
    ttl: u32,
}

/// Where [`Local`] comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalOptions {
    /// Hosts files.
    pub(super) hosts: Vec<PathBuf>,
    /// Records, of `--record`.
    pub(super) records: Vec<Record>,
    /// Rules of `--address`.
    pub(super) addresses: Vec<AddressRule>,
    /// Rules of `--server` with domains.
    pub(super) servers: Vec<(Name, ServerTarget)>,
    /// Block lists.
    pub(super) block: Vec<PathBuf>,
    /// What is answered for names on block lists.
    pub(super) block_answer: BlockAnswer,
    /// The TTL of answers from hosts files, `--address` and block lists, in seconds.
    pub(super) ttl: u32,
}

/// What is answered for names on block lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum BlockAnswer {
    /// There is no such name.
    #[default]
    NoName,
    /// The addresses 0.0.0.0 and ::, and no record of another type.
    Null,
}

/// What is to be done with a question.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// Answer it with this.
    Answer(Answer<'a>),
    /// Ask the upstreams of the group with this index, or those without domains.
    Forward(Option<usize>),
}

/// An answer that needs no other server.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    code: ResponseCode,
    /// The aliases that lead from the name of the question to that of the records.
    aliases: Vec<&'a Record>,
    records: Own<'a>,
    ttl: u32,
}

/// The records of an answer, whose name is that of the question or the end of its aliases.
#[derive(Debug)]
enum Own<'a> {
    Records(&'a [Record]),
    /// Those of them that have the type of the question.
    Addresses(&'a [RecordData]),
}

impl Local {
    /// Reads the files, and makes what the server knows.
    ///
    /// # Errors
    /// When a hosts file is wrong, a file cannot be read, records contradict each other, or a limit is
    /// reached. Wrong lines of block lists are left out, and the log names the first of each list.
    pub(super) fn load(options: &LocalOptions) -> Result<Self, FileError> {
        let mut rules = Rules::default();
        options.addresses.iter().for_each(|rule| rules.add_address(rule));
        for (domain, target) in &options.servers {
            rules.add_server(domain, *target);
        }
        Ok(Self {
            records: load_records(options)?,
            rules,
            blocked: load_block_lists(&options.block)?,
            blocked_addresses: match options.block_answer {
                BlockAnswer::NoName => Vec::new(),
                BlockAnswer::Null => NULL.map(RecordData::address).into(),
            },
            loopback: LOOPBACK.map(RecordData::address).into(),
            ttl: options.ttl,
        })
    }

    /// Decides what is to be done with a question, whose name is `name`.
    pub(super) fn look_up(&self, name: &LowerName, question: &Question<'_>) -> Verdict<'_> {
        if question.class != Class::IN {
            return Verdict::Forward(None);
        }
        if let Some(own) = self.records.of(name) {
            return Verdict::Answer(self.follow(own, question.kind));
        }
        match self.rules.decide(name) {
            Decision::Addresses(all) => self.answer(ResponseCode::NOERROR, Own::Addresses(all)),
            Decision::NoName => self.answer(ResponseCode::NXDOMAIN, Own::Records(&[])),
            Decision::Forward(_) if self.blocked.contains(name) => {
                match &self.blocked_addresses[..] {
                    [] => self.answer(ResponseCode::NXDOMAIN, Own::Records(&[])),
                    all => self.answer(ResponseCode::NOERROR, Own::Addresses(all)),
                }
            }
            // The end shows it at once for nearly all names.
            Decision::Forward(None)
                if name.ends_with(LOCALHOST) && suffixes(name).any(|it| it == LOCALHOST) =>
            {
                self.answer(ResponseCode::NOERROR, Own::Addresses(&self.loopback))
            }
            Decision::Forward(group) => Verdict::Forward(group),
        }
    }

    fn answer<'a>(&self, code: ResponseCode, records: Own<'a>) -> Verdict<'a> {
        Verdict::Answer(Answer { code, aliases: Vec::new(), records, ttl: self.ttl })
    }

    /// Answers with the records of a name, or those at the end of its aliases.
    fn follow<'a>(&'a self, mut own: &'a [Record], kind: RecordType) -> Answer<'a> {
        let mut aliases = Vec::new();
        while let Some(target) = alias_target(own)
            && !matches!(kind, RecordType::CNAME | RecordType::ANY)
            && aliases.len() < ALIASES_MAX
        {
            aliases.extend(own.first());
            own = self.records.of(&LowerName::new(target)).unwrap_or_default();
        }
        let records = Own::Records(of_kind(own, kind));
        Answer { code: ResponseCode::NOERROR, aliases, records, ttl: self.ttl }
    }

    /// Returns what the server knows, for the log.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} records of its own, {} names blocked in {} bytes",
            self.records.len(),
            self.blocked.len(),
            self.blocked.memory()
        )
    }
}

impl<'a> Answer<'a> {
    /// Returns the response code.
    pub(super) fn code(&self) -> ResponseCode {
        self.code
    }

    /// Appends the records to the answer to `question`.
    ///
    /// # Errors
    /// When there is no room for one of them. Those before it are appended.
    pub(super) fn append_to(
        &self,
        question: &Question<'_>,
        builder: &mut Builder,
    ) -> Result<(), Full> {
        let mut name = question.name;
        let mut append = |record: RecordView<'_>| builder.record(Section::Answer, &record);
        for alias in &self.aliases {
            append(RecordView { name, ..alias.view() })?;
            name = alias.data.view().name().unwrap_or(name);
        }
        match self.records {
            Own::Records(all) => {
                all.iter().try_for_each(|record| append(RecordView { name, ..record.view() }))
            }
            Own::Addresses(all) => all
                .iter()
                .map(RecordData::view)
                .filter(|data| [data.kind(), RecordType::ANY].contains(&question.kind))
                .try_for_each(|data| {
                    let (kind, class) = (data.kind(), Class::IN);
                    append(RecordView { name, kind, class, ttl: self.ttl, data })
                }),
        }
    }
}

/// Reads hosts files, and adds the records of `--record`.
fn load_records(options: &LocalOptions) -> Result<Records, FileError> {
    let mut all = records::Collector::default();
    let too_many =
        |_| format!("there are more than {RECORDS_MAX} records of hosts files and --record");
    let given = Path::new("--record");
    for record in &options.records {
        all.add(record.clone()).map_err(|it| FileError::of_file(given, too_many(it)))?;
    }
    for file in &options.hosts {
        hosts::read(open(file)?, file, |line, host| {
            for (index, name) in host.names.into_iter().enumerate() {
                let data = RecordData::address(host.address);
                let record = Record { name, ttl: options.ttl, data };
                // The first name is the canonical one, which the address leads back to.
                let added = if index == 0 { all.add(record) } else { all.add_alone(record) };
                added.map_err(|it| FileError::new(file, line, too_many(it)))?;
            }
            Ok(())
        })?;
    }
    all.finish().map_err(|what| FileError::of_file(given, what))
}

fn load_block_lists(files: &[PathBuf]) -> Result<Blocked, FileError> {
    let mut all = block::Collector::default();
    for file in files {
        let read = all.read(open(file)?, file)?;
        read.reports.iter().for_each(|report| log::warn!("{report}; the line is left out"));
        if read.wrong > read.reports.len() {
            log::warn!("{}: {} names in all are left out", file.display(), read.wrong);
        }
    }
    Ok(all.finish())
}

fn open(file: &Path) -> Result<BufReader<File>, FileError> {
    let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(std::io::ErrorKind::IsADirectory.into()),
        false => Ok(opened),
    });
    let opened =
        opened.map_err(|error| FileError::of_file(file, format!("cannot be read: {error}")))?;
    Ok(BufReader::with_capacity(READ_SIZE, opened))
}

#[cfg(test)]
mod tests {
    use protocol::dns::{Header, Message};
    use testkit::Folder;

    use super::*;

    fn names(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// Returns what is said about a question: the code and the records, or where it goes.
    fn said(local: &Local, name: &str, kind: RecordType) -> Vec<String> {
        let name = names(name);
        let question = Question { name: name.view(), kind, class: Class::IN };
        let answer = match local.look_up(&LowerName::new(question.name), &question) {
            Verdict::Answer(answer) => answer,
            Verdict::Forward(group) => return vec![format!("forward {group:?}")],
        };
        let header = Header::question(1).response(answer.code());
        let mut builder = Builder::new(header, 65_535);
        answer.append_to(&question, &mut builder).expect("there is room");
        let bytes = builder.finish();
        let message = Message::parse(&bytes).expect("it is a message");
        let records = message.answers().map(|record| record.to_string());
        [answer.code().to_string()].into_iter().chain(records).collect()
    }

    fn options(folder: &Folder) -> LocalOptions {
        let file = |name: &str, text: &str| {
            std::fs::write(folder.file(name), text).expect("it is written");
            PathBuf::from(folder.file(name))
        };
        LocalOptions {
            hosts: vec![
                file("hosts", "192.0.2.1 One.lan one\n2001:db8::1 one.lan\n"),
                file("more", "192.0.2.1 other.lan\n192.0.2.2 in.address.test\n"),
            ],
            block: vec![
                file("plain", "ads.test\nbad.good.test\n"),
                file("like-hosts", "0.0.0.0 exact.test\n"),
            ],
            records: ["rec.test 5 MX 10 one.lan", "alias.test 7 CNAME one.lan"]
                .map(|line| line.parse().expect("a record"))
                .into(),
            addresses: vec![parse_address_rule("/address.test/192.0.2.9").expect("a rule")],
            servers: vec![(names("good.test"), ServerTarget::Group(1))],
            ttl: 60,
            ..LocalOptions::default()
        }
    }

    #[test]
    fn questions_are_answered_from_files_and_options() {
        let folder = Folder::new("dns-local");
        let local = Local::load(&options(&folder)).expect("it is right");
        let cases: &[(&str, RecordType, &[&str])] = &[
            ("oNe.lan", RecordType::A, &["NOERROR", "oNe.lan. 60 IN A 192.0.2.1"]),
            ("one.lan", RecordType::AAAA, &["NOERROR", "one.lan. 60 IN AAAA 2001:db8::1"]),
            ("one.lan", RecordType::MX, &["NOERROR"]),
            ("one", RecordType::AAAA, &["NOERROR"]),
            ("LOCALHOST", RecordType::A, &["NOERROR", "LOCALHOST. 60 IN A 127.0.0.1"]),
            ("a.localhost", RecordType::AAAA, &["NOERROR", "a.localhost. 60 IN AAAA ::1"]),
            ("localhost", RecordType::MX, &["NOERROR"]),
            ("notlocalhost", RecordType::A, &["forward None"]),
            ("x\\009localhost", RecordType::A, &["forward None"]),
            (
                "1.2.0.192.in-addr.arpa",
                RecordType::PTR,
                &["NOERROR", "1.2.0.192.in-addr.arpa. 60 IN PTR One.lan."],
            ),
            ("rec.test", RecordType::MX, &["NOERROR", "rec.test. 5 IN MX 10 one.lan."]),
            (
                "alias.test",
                RecordType::A,
                &["NOERROR", "alias.test. 7 IN CNAME one.lan.", "one.lan. 60 IN A 192.0.2.1"],
            ),
            ("alias.test", RecordType::CNAME, &["NOERROR", "alias.test. 7 IN CNAME one.lan."]),
            ("x.address.test", RecordType::A, &["NOERROR", "x.address.test. 60 IN A 192.0.2.9"]),
            ("x.address.test", RecordType::AAAA, &["NOERROR"]),
            ("x.address.test", RecordType::TXT, &["NOERROR"]),
            ("in.address.test", RecordType::A, &["NOERROR", "in.address.test. 60 IN A 192.0.2.2"]),
            ("www.good.test", RecordType::A, &["forward Some(1)"]),
            ("bad.good.test", RecordType::A, &["NXDOMAIN"]),
            ("x.ads.test", RecordType::TXT, &["NXDOMAIN"]),
            ("exact.test", RecordType::A, &["NXDOMAIN"]),
            ("x.exact.test", RecordType::A, &["forward None"]),
            (".", RecordType::NS, &["forward None"]),
        ];
        for (name, kind, expected) in cases {
            assert_eq!(said(&local, name, *kind), *expected, "{name} {kind}");
        }
        let any = said(&local, "one.lan", RecordType::ANY);
        assert_eq!(any.len(), 3, "{any:?}");
    }

    #[test]
    fn blocked_names_may_have_addresses_that_lead_nowhere() {
        let folder = Folder::new("dns-block-null");
        let options = LocalOptions { block_answer: BlockAnswer::Null, ..options(&folder) };
        let local = Local::load(&options).expect("it is right");
        let found = said(&local, "ads.test", RecordType::AAAA);
        assert_eq!(found, ["NOERROR", "ads.test. 60 IN AAAA ::"]);
        assert_eq!(said(&local, "ads.test", RecordType::MX), ["NOERROR"]);
    }

    #[test]
    fn questions_of_other_classes_are_not_for_here() {
        let folder = Folder::new("dns-class");
        let local = Local::load(&options(&folder)).expect("it is right");
        let name = names("one.lan");
        let question = Question { name: name.view(), kind: RecordType::A, class: Class::CH };
        let lower = LowerName::new(question.name);
        assert!(matches!(local.look_up(&lower, &question), Verdict::Forward(None)));
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let folder = Folder::new("dns-wrong");
        let file = folder.file("hosts");
        let error =
            |options: &LocalOptions| Local::load(options).expect_err("it is wrong").to_string();
        let hosts = LocalOptions { hosts: vec![file.clone().into()], ..LocalOptions::default() };
        let expected = format!("{file}: cannot be read: No such file or directory (os error 2)");
        assert_eq!(error(&hosts), expected);
        std::fs::write(&file, "127.0.0.1 localhost\n127.0.0.300 x\n").expect("it is written");
        let expected =
            format!("{file}:2: \"127.0.0.300\" is no address; a line is an address and its names");
        assert_eq!(error(&hosts), expected);
        let folder_path = folder.path().to_owned();
        let block = LocalOptions { block: vec![folder_path.clone()], ..LocalOptions::default() };
        let expected = format!("{}: cannot be read: is a directory", folder_path.display());
        assert_eq!(error(&block), expected);
    }
}
