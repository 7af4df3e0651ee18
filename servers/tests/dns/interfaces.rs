//! Clients are served on the addresses of an interface, which come and go.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use protocol::dns::{RecordType, ResponseCode};
use testkit::{in_namespace, wait_until};

use super::DNS;
use super::asking::{Answer, question_for, read_message, write_message};
use super::common::Daemon;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("it runs");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Returns a question that needs no upstream.
fn question() -> Vec<u8> {
    question_for(7, "a.example", RecordType::ANY, None)
}

/// Returns whether a server answers datagrams at an address.
fn answers(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("it is an address");
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    // There is no route once the address is gone.
    if socket.connect(address).and_then(|()| socket.send(&question())).is_err() {
        return false;
    }
    let mut bytes = [0; 512];
    match socket.recv(&mut bytes) {
        Ok(size) => Answer(bytes[..size].to_vec()).code() == ResponseCode::NOERROR,
        Err(_) => false,
    }
}

/// Returns whether a server answers on connections to an address.
fn accepts(address: &str) -> bool {
    let address = address.parse().expect("it is an address");
    let mut stream = match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(stream) => stream,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::InvalidInput, "{address}");
            return false;
        }
    };
    stream.set_read_timeout(Some(testkit::PATIENCE)).expect("a timeout");
    write_message(&mut stream, &question());
    read_message(&mut stream).is_some_and(|it| Answer(it).code() == ResponseCode::NOERROR)
}

#[test]
fn clients_are_served_on_the_addresses_that_an_interface_has() {
    let test = "interfaces::clients_are_served_on_the_addresses_that_an_interface_has";
    if !in_namespace(test, "ip link set lo up") {
        return;
    }
    for threads in ["1", "2"] {
        // The interface need not exist yet.
        let args = ["--listen", "udp://127.0.0.1:0", "--interface", "v0:5300"];
        let more = ["--upstream", "127.0.0.1:9", "--threads", threads];
        let daemon = Daemon::start(&[], DNS, &[&args[..], &more].concat());
        wait_until("it says that there is no address", || {
            daemon.log().contains("v0 has no address")
        });
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("addr add 10.1.0.1/24 dev v0");
        ip("addr add 10.1.0.2/24 dev v1");
        wait_until("the address is served", || answers("10.1.0.1:5300"));
        wait_until("connections are served", || accepts("10.1.0.1:5300"));
        // That of another interface is not.
        assert!(!answers("10.1.0.2:5300") && !accepts("10.1.0.2:5300"));
        ip("addr add fd00::1/64 dev v0");
        ip("addr add 10.1.0.3/24 dev v0");
        wait_until("more addresses are served", || {
            answers("[fd00::1]:5300") && answers("10.1.0.3:5300")
        });
        ip("addr del 10.1.0.3/24 dev v0");
        wait_until("its sockets are closed", || daemon.log().contains("10.1.0.3:5300 no more"));
        // Another interface may have the address now, on which nothing listens.
        ip("addr add 10.1.0.3/24 dev v1");
        assert!(!answers("10.1.0.3:5300") && !accepts("10.1.0.3:5300"));
        assert!(answers("10.1.0.1:5300"));
        ip("link del v0");
        wait_until("all are closed", || daemon.log().contains("10.1.0.1:5300 no more"));
        ip("link add v0 type veth peer name v1");
        ip("addr add 10.1.0.1/24 dev v0");
        ip("link set v0 up");
        wait_until("a new interface of this name is served", || answers("10.1.0.1:5300"));
        daemon.stop();
        ip("link del v0");
    }
}

#[test]
fn a_port_that_is_taken_is_tried_again() {
    let test = "interfaces::a_port_that_is_taken_is_tried_again";
    if !in_namespace(test, "ip link set lo up") {
        return;
    }
    let other = UdpSocket::bind("127.0.0.1:5300").expect("it is free");
    let args = ["--listen", "udp://127.0.0.1:0", "--interface", "lo:5300"];
    let args = [&args[..], &["--upstream", "127.0.0.1:9"]].concat();
    let daemon = Daemon::start(&[], DNS, &args);
    wait_until("it says so", || daemon.log().contains("tried again every 1s"));
    assert!(accepts("127.0.0.1:5300"), "the other socket is open");
    drop(other);
    wait_until("the port is taken", || answers("127.0.0.1:5300"));
    let count = daemon.log().matches("tried again").count();
    assert_eq!(count, 1, "{}", daemon.log());
}

#[test]
fn names_of_interfaces_are_checked() {
    for wrong in ["", "a/b", "an-interface-name", "v0:", "v0:0", "v0:70000", ":53", "v 0"] {
        let args = ["--interface", wrong, "--upstream", "127.0.0.1:9"];
        let output = testkit::process::run(Command::new(DNS).args(args), b"");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {errors}");
        assert!(errors.contains("--interface"), "{errors}");
    }
}
