//! Compares what this crate sends and prints with the server and the tool of Redis.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use protocol::resp::text::{self, JsonStrings};
use protocol::resp::{Client, Item, Protocol, Request, Server, Value, Writer};
use protocol::{
    Buffer, Codec, ConnectionId, Context, Conversation, Decoded, Effects, Flow, Limits, Output,
    Reply, Service, Session,
};
use testkit::process::run;
use testkit::{Folder, PATIENCE, Random, Redis, has_peer};

/// Returns everything that the server sends for `input` until it closes.
fn answer(redis: &Redis, input: &[u8]) -> Vec<u8> {
    let mut stream = connect(&redis.socket());
    // It may have closed after a part of the input.
    let _ = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("it answers");
    said
}

/// Returns what `redis-cli` prints.
fn print(redis: &Redis, options: &[&str], command: &[&str]) -> Vec<u8> {
    let mut tool = Command::new("redis-cli");
    tool.args(["-s", &redis.socket()]).args(options).args(command).stdin(Stdio::null());
    tool.output().expect("it is installed").stdout
}

fn connect(socket: &str) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the server answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    stream
}

/// Writes the error of Redis for an unknown command, which contains all parts of the request.
fn unknown_command(request: Request<'_>, writer: &mut Writer<'_>) {
    let mut args = Vec::new();
    for arg in request.args() {
        if args.len() < 128 {
            args.push(b'\'');
            args.extend_from_slice(&arg[..arg.len().min(128 - (args.len() - 1))]);
            args.extend_from_slice(b"' ");
        }
    }
    let name = &request.name()[..request.name().len().min(128)];
    let words = [b"ERR unknown command '", name, b"', with args beginning with: ", &args];
    writer.error_parts(&words);
}

/// Returns what a server that uses this codec and knows no command sends for `input`.
fn our_answer(server: Server, input: &[u8]) -> Vec<u8> {
    let (mut server, mut output, mut rest) = (server, Output::new(), input.to_vec());
    loop {
        let mut unused = Output::new();
        let consumed = match server.decode(&mut rest, &mut unused) {
            Ok(Decoded::Message { message, consumed }) => {
                unknown_command(message, &mut Writer::new(&mut output, Protocol::Resp2));
                consumed
            }
            Ok(Decoded::Skip { consumed }) => consumed,
            Ok(Decoded::Incomplete { .. }) => return output.to_vec(),
            Err(error) => {
                server.reject(&error, &mut output);
                return output.to_vec();
            }
        };
        rest.drain(..consumed);
    }
}

fn assert_same(input: &[u8], ours: &[u8], theirs: &[u8]) {
    let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
    let input = &input[..input.len().min(500)];
    assert_eq!(ours.to_string(), theirs.to_string(), "to {}", input.escape_ascii());
}

#[test]
fn requests_are_parsed_and_refused_as_by_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let long = "1".repeat(65_537);
    let mut inputs: Vec<Vec<u8>> = [
        "*x\r\n",
        "*\r\n",
        "*01\r\n",
        "*+1\r\n",
        "*-0\r\n",
        "*99999999999999999999\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$00\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n\r\n",
        "*1\r\n\nx\r\n",
        "*1\rx$1\rxaxx*1\r\n$1\r\nb\r\n",
        "*0\r\n*-1\r\n*-5\r\n\r\n\na\r\n",
        "a 'b\r\n",
        "a \"b\"c\r\n",
        "a\x0bb \x0c\x0b c\r\n",
        r#"a "b c" 'd e' "\x41\n\q\"" 'it\'s' '' f"g""#,
    ]
    .map(|input| input.as_bytes().to_vec())
    .into();
    inputs.push([inputs.last().map_or(&b""[..], |line| line), b"\r\n"].concat());
    inputs.push(long.clone().into_bytes());
    inputs.push(format!("*{long}").into_bytes());
    inputs.push(format!("*1\r\n${long}").into_bytes());
    inputs.push(b"*2\r\n$1\r\na\r\n\xff\r\n".to_vec());
    for input in inputs {
        assert_same(&input, &our_answer(Server::default(), &input), &answer(&redis, &input));
    }
}

#[test]
fn all_requests_are_parsed_as_by_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let arrays: &[&str] =
        &["*1\r\n", "*2\r\n", "*3\r\n", "$1\r\na\r\n", "$2\r\nbc\r\n", "$0\r\n\r\n", "$1\r\n", "d"];
    let lines: &[&str] = &[
        "a",
        "\"b c\"",
        "'d e'",
        "\"\\x41\\n\\q\"",
        "'\\''",
        "f\"g\"",
        " ",
        " ",
        " ",
        "  ",
        "\t",
        "\r\n",
        "\n",
        "''",
        "\\",
    ];
    let bytes: &[&str] =
        &["*", "$", "1", "0", "-", "\r\n", "\r\n", "\n", "\r", "a", "\"", "'", " ", "\\", "\u{e9}"];
    let mut random = Random::new(1);
    for _ in 0..3000 {
        let words = random.pick(&[arrays, lines, bytes]);
        let input: String = (0..30).map(|_| random.pick(words)).collect();
        let input = input.as_bytes();
        assert_same(input, &our_answer(Server::default(), input), &answer(&redis, input));
    }
}

#[test]
fn a_client_without_a_password_gets_the_same_errors() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    let mut server = Server::default();
    server.set_authenticated(false);
    for input in ["*11\r\n", "*1\r\n$16385\r\n", "*x\r\n"] {
        let input = input.as_bytes();
        assert_same(input, &our_answer(server, input), &answer(&redis, input));
    }
}

/// A connection to a server that answers commands one after the other.
struct Connection {
    stream: UnixStream,
    client: Client,
    input: Vec<u8>,
}

impl Connection {
    fn open(redis: &Redis, protocol: Protocol) -> Self {
        let (stream, client) = (connect(&redis.socket()), Client::default());
        let mut connection = Self { stream, client, input: Vec::new() };
        if protocol == Protocol::Resp3 {
            connection.call(&["HELLO", "3"], |_, _| ());
        }
        connection
    }

    /// Sends `command` and passes the reply to `look`. Skips pushes before it.
    fn call<T>(&mut self, command: &[&str], look: impl FnOnce(Value<'_>, &[u8]) -> T) -> T {
        let mut output = Output::new();
        let parts: Vec<&[u8]> = command.iter().map(|part| part.as_bytes()).collect();
        self.client.encode(&parts, &mut output);
        self.stream.write_all(&output.to_vec()).expect("the server reads");
        loop {
            let mut input = std::mem::take(&mut self.input);
            match self.client.decode(&mut input, &mut output).expect("it is RESP") {
                Decoded::Message { message, consumed } if message.is_push() => {
                    self.input = input[consumed..].to_vec();
                }
                Decoded::Message { message, consumed } => {
                    let seen = look(message, message.encoded());
                    self.input = input[consumed..].to_vec();
                    return seen;
                }
                _ => {
                    let mut more = [0; 4096];
                    let count = self.stream.read(&mut more).expect("the server answers");
                    assert!(count > 0, "the server closed");
                    input.extend_from_slice(&more[..count]);
                    self.input = input;
                }
            }
        }
    }
}

/// Commands that produce every kind of reply of Redis.
const COMMANDS: [&[&str]; 46] = [
    &["PING"],
    &["PING", "a \"quoted\" \\ text\n\r\t\u{7}\u{8}\u{1b}\u{e9}"],
    &["PING", ""],
    &["GET", "missing"],
    &["NONSENSE", "a", "b"],
    &["SET", "string", "text"],
    &["GET", "string"],
    &["GET"],
    &["STRLEN", "string"],
    &["LPOP", "missing", "3"],
    &["LRANGE", "string", "0", "1"],
    &["DECRBY", "number", "9223372036854775807"],
    &["RPUSH", "list", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"],
    &["LRANGE", "list", "0", "-1"],
    &["LRANGE", "missing", "0", "-1"],
    &["HSET", "hash", "one", "1", "two", "2"],
    &["HGETALL", "hash"],
    &["HGETALL", "missing"],
    &["HRANDFIELD", "hash", "0", "WITHVALUES"],
    &["SADD", "set", "1"],
    &["SMEMBERS", "set"],
    &["SMEMBERS", "missing"],
    &["ZADD", "sorted", "1.5", "a", "inf", "b", "-1e300", "c", "0.1", "d"],
    &["ZSCORE", "sorted", "a"],
    &["ZSCORE", "sorted", "b"],
    &["ZSCORE", "sorted", "c"],
    &["ZSCORE", "sorted", "d"],
    &["ZRANGE", "sorted", "0", "-1", "WITHSCORES"],
    &["XADD", "stream", "1-1", "field", "value", "other", "thing"],
    &["XADD", "stream", "1-2", "field", "value"],
    &["XREAD", "STREAMS", "stream", "0"],
    &["XINFO", "STREAM", "stream", "FULL"],
    &["COMMAND", "INFO", "get", "missing", "config"],
    &["COMMAND", "DOCS", "set"],
    &["CONFIG", "GET", "maxmemory*"],
    &["DEBUG", "PROTOCOL", "string"],
    &["DEBUG", "PROTOCOL", "double"],
    &["DEBUG", "PROTOCOL", "null"],
    &["DEBUG", "PROTOCOL", "array"],
    &["DEBUG", "PROTOCOL", "set"],
    &["DEBUG", "PROTOCOL", "map"],
    &["DEBUG", "PROTOCOL", "true"],
    &["DEBUG", "PROTOCOL", "false"],
    &["DEBUG", "PROTOCOL", "verbatim"],
    &["EVAL", "redis.setresp(3) return {{}, {1, {2, {map={k={map={}}}}}}, {set={x=true}}}", "0"],
    &["EVAL", "return {map={[1]={map={a={1,2}}}, [2]={map={b={3}}}}}", "0"],
];

/// Replies that `redis-cli` gives up on: big numbers and attributes.
const NOT_FOR_THE_TOOL: [&[&str]; 2] =
    [&["DEBUG", "PROTOCOL", "bignum"], &["DEBUG", "PROTOCOL", "attrib"]];

#[test]
fn replies_of_redis_are_encoded_again_byte_for_byte() {
    let Some(redis) = Redis::start(&[]) else { return };
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut connection = Connection::open(&redis, protocol);
        connection.call(&["FLUSHALL"], |_, _| ());
        for command in COMMANDS.into_iter().chain(NOT_FOR_THE_TOOL) {
            connection.call(command, |value, encoded| {
                let mut output = Output::new();
                Writer::new(&mut output, protocol).value(value);
                assert_same(command.join(" ").as_bytes(), &output.to_vec(), encoded);
            });
        }
    }
}

#[test]
fn types_of_resp3_are_written_in_resp2_as_by_redis() {
    let Some(redis) = Redis::start(&[]) else { return };
    let kinds = [
        "string", "integer", "double", "bignum", "null", "array", "set", "map", "attrib",
        "verbatim", "true", "false",
    ];
    let mut old = Connection::open(&redis, Protocol::Resp2);
    let mut new = Connection::open(&redis, Protocol::Resp3);
    for kind in kinds {
        let mut output = Output::new();
        let command = ["DEBUG", "PROTOCOL", kind];
        new.call(&command, |value, _| Writer::new(&mut output, Protocol::Resp2).value(value));
        let theirs = old.call(&command, |_, encoded| encoded.to_vec());
        assert_same(kind.as_bytes(), &output.to_vec(), &theirs);
    }
}

#[test]
fn values_are_printed_as_by_redis_cli() {
    let Some(redis) = Redis::start(&[]) else { return };
    for (protocol, version) in [(Protocol::Resp2, "-2"), (Protocol::Resp3, "-3")] {
        let mut connection = Connection::open(&redis, protocol);
        connection.call(&["FLUSHALL"], |_, _| ());
        // Each command runs several times, so only those whose reply stays the same are compared.
        for command in COMMANDS {
            connection.call(command, |_, _| ());
            if ["RPUSH", "SADD", "HSET", "ZADD", "XADD", "DECRBY"].contains(&command[0]) {
                continue;
            }
            let printed = connection.call(command, |value, _| in_all_forms(value));
            for (form, ours) in FORMS.into_iter().zip(printed) {
                let theirs = print(&redis, &[version, form], command);
                assert_same(format!("{form} {}", command.join(" ")).as_bytes(), &ours, &theirs);
            }
        }
    }
}

/// The forms in which `redis-cli` prints.
const FORMS: [&str; 5] = ["--no-raw", "--raw", "--csv", "--json", "--quoted-json"];

/// Returns a value in each form.
fn in_all_forms(value: Value<'_>) -> [Vec<u8>; FORMS.len()] {
    let mut forms = [const { Vec::new() }; FORMS.len()];
    let [on_terminal, plain, csv, json, quoted_json] = &mut forms;
    text::human(value, on_terminal);
    text::raw(value, b"\n", plain);
    text::csv(value, csv);
    text::json(value, JsonStrings::Plain, json);
    text::json(value, JsonStrings::Quoted, quoted_json);
    forms[1..].iter_mut().for_each(|text| text.push(b'\n'));
    forms
}

/// Returns the arguments that `redis-cli` makes of a line, which the server sends back.
#[test]
fn lines_are_split_as_by_redis_cli() {
    let Some(redis) = Redis::start(&[]) else { return };
    let lines = [
        r#"a b  "c d" 'e f' "#,
        r#""\x41\x4g\n\r\t\a\b\q\"\\" 'it\'s\n' a"b" c'd'"#,
        r#""" '' "'" '"'"#,
        r#"\x41 \" "#,
    ];
    for line in lines {
        let script = "EVAL 'return ARGV' 0 ";
        let mut tool = Command::new("redis-cli")
            .arg("-s")
            .arg(redis.socket())
            .arg("--no-raw")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let mut input = tool.stdin.take().expect("it is a pipe");
        writeln!(input, "{script}{line}").expect("the tool reads");
        drop(input);
        let theirs = tool.wait_with_output().expect("the tool ends").stdout;
        let ours = text::split(line.as_bytes());
        let mut printed = Vec::new();
        match ours {
            Ok(arguments) => {
                let mut output = Output::new();
                Writer::new(&mut output, Protocol::Resp2).command(arguments);
                let mut input = output.to_vec();
                let decoded = Client::default().decode(&mut input, &mut Output::new());
                let Ok(Decoded::Message { message, .. }) = decoded else { panic!("{decoded:?}") };
                assert!(matches!(message.item(), Item::Array(_)));
                text::human(message, &mut printed);
            }
            Err(_) => printed.extend_from_slice(b"Invalid argument(s)\n"),
        }
        assert_same(line.as_bytes(), &printed, &theirs);
    }
}

/// Replies PONG, OK, or all parts of the request. It speaks RESP3 on request.
struct Parrot;

impl Service<Server> for Parrot {
    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        _context: &mut Context<'_>,
    ) -> Flow {
        if request.name().eq_ignore_ascii_case(b"HELLO") {
            reply.codec().set_protocol(Protocol::Resp3);
        }
        let mut out = reply.writer();
        match &*request.name().to_ascii_uppercase() {
            b"PING" if request.len() == 1 => out.simple("PONG"),
            b"SET" => out.ok(),
            b"GET" => out.null(),
            b"COMMAND" | b"CONFIG" => out.array(0),
            _ => {
                out.map(1);
                out.bulk("parts");
                out.set(request.len());
                request.iter().for_each(|part| out.bulk(part));
            }
        }
        Flow::Continue
    }
}

/// Serves `stream` until its peer ends.
fn serve(mut stream: UnixStream) {
    let mut session = Conversation::new(Server::default(), Parrot);
    let (mut input, mut output, limits) = (Buffer::new(), Output::new(), Limits::DEFAULT);
    loop {
        let count = stream.read(input.spare(4096)).expect("the tool is there");
        input.commit(count);
        let (mut app, mut effects) = ((), Effects::default());
        let mut context =
            Context::new(Instant::now(), ConnectionId(0), &mut app, &limits, &mut effects);
        context.input_ended = count == 0;
        let flow = session.advance(&mut input, &mut output, &mut context);
        // A tool may close without reading the rest.
        let written = stream.write_all(&output.to_vec());
        output.clear();
        if written.is_err() || !matches!(flow, Ok(Flow::Continue)) {
            return;
        }
    }
}

/// Returns what a tool of Redis prints when it talks to a server that uses this codec.
fn talk(program: &str, args: &[&str], input: &str) -> Option<String> {
    if !has_peer(program) {
        return None;
    }
    let folder = Folder::new("tool");
    let socket = folder.file("socket");
    let listener = UnixListener::bind(&socket).expect("the folder is ours");
    // The thread ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    let mut tool = Command::new(program);
    let printed = run(tool.args(["-s", &socket]).args(args), input.as_bytes());
    assert!(printed.status.success(), "{program} failed");
    Some(String::from_utf8(printed.stdout).expect("it is text"))
}

#[test]
fn redis_cli_parses_replies_in_both_versions() {
    let input = "PING\nset a b\nget a\necho \"a \\x00\"\n";
    let Some(old) = talk("redis-cli", &["--no-raw"], input) else { return };
    assert_eq!(old, "PONG\nOK\n(nil)\n1) \"parts\"\n2) 1) \"echo\"\n   2) \"a \\x00\"\n");
    let Some(new) = talk("redis-cli", &["--no-raw", "-3"], input) else { return };
    let parts = "1# \"parts\" => \n   1~ \"echo\"\n   2~ \"a \\x00\"\n";
    assert_eq!(new, format!("PONG\nOK\n(nil)\n{parts}"));
}

#[test]
fn all_requests_of_redis_benchmark_are_answered() {
    let args = ["-t", "ping,set,get", "-n", "5000", "-c", "5", "-P", "16", "--csv"];
    let Some(printed) = talk("redis-benchmark", &args, "") else { return };
    for test in ["PING_INLINE", "PING_MBULK", "SET", "GET"] {
        assert!(printed.contains(&format!("\"{test}\"")), "no {test} in {printed}");
    }
}
