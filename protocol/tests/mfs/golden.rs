//! Packets that were captured from the real programs of version 3.0.117.

use protocol::codecs::Packet;
use protocol::mfs::{
    Accepted, Answer, AttributedEntry, CLIENT_MARK, ChunkId, ChunkserverAbout, ChunkserverBegin,
    ChunkserverRegister, ClientRegister, ClientRegisterAnswer, Credentials, CurrentLoad, Data,
    DownloadStart, Endpoint, FileType, Form, GetAttributes, Ip, Kind, Labels, List, Lookup,
    LookupAnswer, MasterAck, Message, Metalogger, MetaloggerRegister, Metaloggers, Mode, Name,
    Numbered, Open, OpenAnswer, OpenSession, Read, ReadChunk, ReadChunkAnswer, ReadData,
    ReadDirectoryAnswer, ReadForm, ReadStatus, ResumeSession, StatFs, StatFsAnswer, Status, Text,
    Version, append_all, describe,
};
use protocol::testing;

/// Whole packets, type and length included.
const PACKETS: &[&str] = &[
    "0000019100000031000300ea0000000f6b0877d3da9b25010800000000000000000000000003e7000003e7010900000000ffffffff00000000",
    "000001920000000400000051",
    "0000019300000030000000510000002d6f9400000000001f1f57c0000000001f1f57c00000000000009896800000000000000000000000b6",
    "00000198000000110000005100000001000000000000000000",
    "0000019900000028000000510c21ff00000000000000006b0883496b0884806b0884800000000500000000001f459800",
    "000001960000001c0000005100000001077665632e747874000000000000000100000000",
    "000001970000005700000051000000b80811a400000000000000006b0884806b0884806b0884800000000100000000000000060001ff0200000000000000ba000000010a6300014bde000300ea000000000a6300014be8000300ea00000000",
    "000001960000001b0000005100000001066e6f73756368000000000000000100000000",
    "00000197000000050000005103",
    "000001ae0000001500000051000000b800000000000000010000000001",
    "000001af0000002900000051000811a400000000000000006b0884806b0884806b08848000000001000000000000000600",
    "000001b00000000d00000051000000b80000000000",
    "000001b1000000350000005102000000000000000600000000000000ba000000010a6300014bde000300ea000000000a6300014be8000300ea00000000",
    "000000c8000000150100000000000000ba000000010000000000000006",
    "000000ca0000001a00000000000000ba0000000000000006363a302068656c6c6f0a",
    "000000c90000000900000000000000ba00",
    "000001ac00000021000000510000000100000000000000010000000001ffffffff0000000000000000",
    "0000020b00000008000300ea0a630001",
    "00000064000000373c000300ea0a63000172f80000000100000000000000000000000000000000000000000000000000000000000000000000000000000000",
    "000000680000001100000300ea000a00021122334455667788",
    "0000006d0000000400000000",
    "00000064000000013e",
    "000000650000002800000007285e900000000016b7ca0000000000090000000000000000000000000000000000000000",
    "00000067000000050000000001",
    "000000320000000701000300ea000a",
    "0000003c0000000101",
];

/// The registration that opens a session: what follows the mark.
const NEW_SESSION: &str = "02000300ea000000042f617800000000022f00";
/// The beginning of the body with which a real master lists a directory.
const LISTING: &str = "00000051000000000000\
    00 00 01 2e 00000001 0c21ff00000000000000006b0884816b0884806b0884800000000500000000001f459800\
    02 2e2e 00000001 0c21ff00000000000000006b0884816b0884806b0884800000000500000000001f459800";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: String = hexadecimal.split_whitespace().collect();
    let pair =
        |place| u8::from_str_radix(&digits[place..place + 2], 16).expect("it is hexadecimal");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// Returns the type and the body of a packet of the list.
fn packet(place: usize) -> (Kind, Vec<u8>) {
    let packet = bytes(PACKETS[place]);
    let kind = u32::from_be_bytes(packet[..4].try_into().expect("it has a type"));
    (Kind(kind), packet[8..].to_vec())
}

/// Checks that the packet of a message is one of the list.
#[track_caller]
fn check<'a, M: Message<'a>>(place: usize, message: &M) {
    assert_eq!(&*message.packet(), &bytes(PACKETS[place])[..], "{}", message.text());
}

#[test]
fn every_packet_is_read_and_encoded_again_to_the_same_bytes_and_survives_every_split() {
    let mut all = Vec::new();
    for (place, whole) in PACKETS.iter().enumerate() {
        let (kind, body) = packet(place);
        let form = Form::of(kind).unwrap_or_else(|| panic!("{kind} is unknown"));
        assert_eq!(form.encode_again(&body), Ok(body.clone()), "{}", describe(kind, &body));
        assert!(form.text(&body).expect("it was read").starts_with(form.name()));
        // A byte less or more is noticed, except where a list or a text goes to the end.
        assert!(form.encode_again(&body[..body.len() - 1]).map_or(true, |it| it != body));
        all.extend(bytes(whole));
    }
    let seen = testing::check_splits(Packet::default, &all, |packet| {
        describe(Kind(packet.kind), packet.body).into_bytes()
    });
    assert_eq!(seen.len(), PACKETS.len());
}

#[test]
fn the_messages_of_a_client_are_those_of_the_real_one() {
    let number = 0x51;
    check(1, &Numbered { number, message: StatFs });
    let attributes = GetAttributes { inode: 1, ..GetAttributes::default() };
    check(3, &Numbered { number, message: attributes });
    let name = Name::new(b"vec.txt").expect("it is short");
    let lookup = Lookup { parent: 1, name, credentials: Credentials::ROOT };
    check(5, &Numbered { number, message: lookup });
    let open = Open { inode: 0xb8, credentials: Credentials::ROOT, flags: 1 };
    check(9, &Numbered { number, message: open });
    check(11, &Numbered { number, message: ReadChunk { inode: 0xb8, index: 0, flags: 0 } });
    let (chunk, version) = (ChunkId(0xba), 1);
    check(13, &Read { form: ReadForm::Lively, chunk, version, offset: 0, size: 6 });
    let (version, info) = (Version::OURS, Text(b"/ax\0"));
    let path = Text(b"/\0");
    let open = OpenSession { version, info, path, ..OpenSession::default() };
    let body = ClientRegister::Open(open).body();
    assert_eq!(body, [&CLIENT_MARK[..], &bytes(NEW_SESSION)].concat());
    let again = ClientRegister::parse(&body).expect("it is a registration");
    assert_eq!(again, ClientRegister::Open(open));
    let resume = ResumeSession { session: 15, version, meta_id: 7 };
    assert_eq!(ClientRegister::Resume(resume).body().len(), 64 + 1 + 16);
}

#[test]
fn the_answers_of_the_master_have_their_values() {
    let (_, body) = packet(0);
    let Ok(ClientRegisterAnswer::Opened(opened)) = ClientRegisterAnswer::parse(&body) else {
        panic!("the session was opened");
    };
    assert_eq!((opened.version, opened.session), (Version::OURS, 15));
    assert_eq!((opened.export.flags, opened.export.all_uid), (8, 999));
    let (_, body) = packet(2);
    let answer = Numbered::<Answer<StatFsAnswer>>::parse(&body).expect("it is an answer");
    assert_eq!(answer.message.done().map(|it| it.inodes), Ok(0xb6));
    let (_, body) = packet(6);
    let answer = Numbered::<Answer<LookupAnswer<'_>>>::parse(&body).expect("it is an answer");
    let found = answer.message.done().expect("the name is there");
    assert_eq!((found.inode, found.flags, found.attributes.length), (0xb8, 0x1ff, 6));
    let place = found.place.expect("the first chunk follows");
    assert_eq!((place.chunk, place.version), (ChunkId(0xba), 1));
    let servers: Vec<String> = place.servers.iter().map(|it| it.place.to_string()).collect();
    assert_eq!(servers, ["10.99.0.1:19422", "10.99.0.1:19432"]);
    let (_, body) = packet(8);
    let answer = Numbered::<Answer<LookupAnswer<'_>>>::parse(&body).expect("it is an answer");
    assert_eq!(answer.message.done(), Err(Status::ENOENT));
    let (_, body) = packet(10);
    let answer = Numbered::<Answer<OpenAnswer>>::parse(&body).expect("it is an answer");
    let mode = answer.message.done().map(|it| it.attributes.mode);
    assert_eq!(mode, Ok(Mode { file_type: FileType::File, permissions: 0o644 }));
    let (_, body) = packet(12);
    let answer = Numbered::<Answer<ReadChunkAnswer<'_>>>::parse(&body).expect("it is an answer");
    let found = answer.message.done().expect("the chunk is there");
    assert_eq!(found.servers.iter().count(), 2);
}

#[test]
fn a_listing_has_its_entries() {
    let body = bytes(LISTING);
    let listing = Numbered::<Answer<ReadDirectoryAnswer<'_>>>::parse(&body).expect("it is one");
    let listing = listing.message.done().expect("the directory is there");
    let entries =
        List::<AttributedEntry<'_>>::new(listing.entries.0).expect("they have attributes");
    let names: Vec<&[u8]> = entries.iter().map(|it| it.name.bytes()).collect();
    assert_eq!(names, [&b"."[..], b".."]);
    assert!(entries.iter().all(|it| it.attributes.mode.file_type == FileType::Directory));
}

#[test]
fn the_messages_of_servers_are_those_of_the_real_ones() {
    let (version, chunk) = (Version::OURS, ChunkId(0xba));
    check(14, &ReadData { chunk, block: 0, offset: 0, data: Data::new(b"hello\n") });
    check(15, &ReadStatus { chunk, status: Status::OK });
    let loopback = Ip(0x0a63_0001);
    let list = append_all([Metalogger { version, ip: loopback }]);
    check(17, &Metaloggers { metaloggers: List::new(&list).expect("it is a list") });
    let place = Endpoint { ip: loopback, port: 29432 };
    let about = ChunkserverAbout { version, place, csid: 1, ..ChunkserverAbout::default() };
    check(18, &ChunkserverRegister::Begin(ChunkserverBegin { proof: None, about }));
    let accepted = Accepted { version, timeout: 10, csid: 2, meta_id: 0x1122_3344_5566_7788 };
    check(19, &MasterAck::Accepted(accepted));
    check(20, &Labels { mask: 0 });
    check(21, &ChunkserverRegister::Done);
    check(23, &CurrentLoad { load: 0, state: 1 });
    check(24, &MetaloggerRegister { version, timeout: 10, first: None });
    check(25, &DownloadStart { file: 1 });
}
