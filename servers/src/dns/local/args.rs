//! The arguments for answers that need no upstream.

use std::path::PathBuf;

use clap::Args;
use protocol::dns::{Class, Record};

use super::{AddressRule, BlockAnswer, LocalOptions, parse_address_rule};

const HOSTS_HELP: &str = "Hosts file, such as /etc/hosts (hosts(5)): its names have these addresses, and each address \
                          leads back to the first name of its line. May be given several times. It is read again \
                          when it changes and on SIGHUP; at most 1000000 records, with those of --record, and \
                          16384 bytes a line";

const BLOCK_HELP: &str = "Block list, with a name in each line, which stands for all names below it too, or with lines \
                          of a hosts file, which stand for their names alone. May be given several times. It is \
                          read again when it changes and on SIGHUP; at most 8000000 names, which take 8 bytes \
                          each, and 16384 bytes a line";

const ADDRESS_HELP: &str = "Address of a domain and of all names below it, such as /ads.example/192.0.2.1; /DOMAIN/# \
                            stands for 0.0.0.0 and ::, /DOMAIN/ for no such name, and the domain # for every name. \
                            May be given several times; the longest domain counts, and names of --hosts and \
                            --record go first";

/// What stands for a TTL that was not given. No record can have it (RFC 2181 section 8).
const NO_TTL: u32 = u32::MAX;

/// The arguments for answers that need no upstream.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Answers of its own")]
pub struct LocalArgs {
    #[arg(long, value_name = "FILE", help = HOSTS_HELP)]
    pub(in crate::dns) hosts: Vec<PathBuf>,

    /// Record as in a zone file, such as "nas.lan 300 A 10.0.0.5", "lan MX 10 nas.lan" or "files.lan CNAME
    /// nas.lan"; an address leads back to its name. Without seconds, --local-ttl counts. May be given
    /// several times. A name with a record is never asked of upstreams. An alias leads to a name with a
    /// record here, over 8 aliases at most
    #[arg(long, value_name = "RECORD", value_parser = parse_record)]
    pub(in crate::dns) record: Vec<Record>,

    #[arg(long, value_name = "/DOMAIN/IP", help = ADDRESS_HELP, value_parser = parse_address_rule)]
    pub(in crate::dns) address: Vec<AddressRule>,

    #[arg(long, value_name = "FILE", help = BLOCK_HELP)]
    pub(in crate::dns) block: Vec<PathBuf>,

    /// What is answered for a blocked name: nxdomain, that there is no such name, or null, the
    /// addresses 0.0.0.0 and ::
    #[arg(long, value_name = "ANSWER", default_value = "nxdomain", value_parser = parse_block_answer)]
    pub(in crate::dns) block_answer: BlockAnswer,

    /// For how many seconds clients may keep the records of --hosts, --address, --block and --record, up
    /// to 86400. Clients do not keep answers without records
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(in crate::dns) local_ttl: u32,
}

impl LocalArgs {
    /// Returns where the answers come from, without the rules of `--server`.
    pub(in crate::dns) fn options(&self) -> LocalOptions {
        LocalOptions {
            hosts: self.hosts.clone(),
            records: self.records(),
            addresses: self.address.clone(),
            servers: Vec::new(),
            block: self.block.clone(),
            block_answer: self.block_answer,
            ttl: self.local_ttl,
        }
    }

    fn records(&self) -> Vec<Record> {
        let mut records = self.record.clone();
        for record in records.iter_mut().filter(|record| record.ttl == NO_TTL) {
            record.ttl = self.local_ttl;
        }
        records
    }
}

/// Reads a record that a server may have. One without a TTL has [`NO_TTL`].
fn parse_record(text: &str) -> Result<Record, String> {
    let record = Record::from_text(text, NO_TTL).map_err(|error| format!("{error}"))?;
    let view = record.view();
    if view.name.labels().next() == Some(b"*") {
        let below = record.name.to_string();
        let below = below.trim_start_matches("*.").trim_end_matches('.');
        return Err(format!(
            "wildcards are not known here: --address /{below}/ADDRESS answers for all names below {below}"
        ));
    }
    match (view.class, view.kind.is_meta()) {
        (Class::IN, false) => Ok(record),
        (_, true) => Err(format!("{} is no type of a record", view.kind)),
        (class, _) => {
            Err(format!("a record of class {class} is never asked for here; expected IN"))
        }
    }
}

fn parse_block_answer(text: &str) -> Result<BlockAnswer, String> {
    match text {
        "nxdomain" => Ok(BlockAnswer::NoName),
        "null" => Ok(BlockAnswer::Null),
        _ => Err("expected nxdomain or null".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_seconds_has_those_of_the_option() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: LocalArgs,
        }
        let records = ["--record", "a.lan A 10.0.0.5", "--record", "a.lan 0 A 10.0.0.6"];
        let args = ["dns", "--local-ttl", "7"].into_iter().chain(records);
        let cli: Cli = clap::Parser::try_parse_from(args).expect("they are right");
        let records = cli.args.options().records.into_iter().map(|record| record.to_string());
        let expected = ["a.lan. 7 IN A 10.0.0.5", "a.lan. 0 IN A 10.0.0.6"];
        assert_eq!(records.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_record_is_one_of_a_zone() {
        let record = parse_record("nas.lan 300 A 10.0.0.5").expect("it is right");
        assert_eq!(record.to_string(), "nas.lan. 300 IN A 10.0.0.5");
        assert!(parse_record("nas.lan 300 A 10.0.0").is_err());
        let error = parse_record("*.a.lan A 10.0.0.5").expect_err("it is a wildcard");
        let hint = "--address /a.lan/ADDRESS answers for all names below a.lan";
        assert_eq!(error, format!("wildcards are not known here: {hint}"));
        let error = parse_record("a.lan 2147483648 A 10.0.0.5").expect_err("its TTL is too long");
        assert!(error.contains("at most 2147483647 seconds"), "{error}");
        let error = parse_record("a.lan CH TXT x").expect_err("it is of another class");
        assert_eq!(error, "a record of class CH is never asked for here; expected IN");
    }
}
