//! Connections that end before all of their output is sent.

use super::*;

#[test]
fn the_rest_of_a_connection_that_ends_in_the_same_turn_arrives() {
    let Some(uring) = ring(Sizes::DEFAULT) else { return };
    let mut sides = Sides::new(uring, 1);
    let bytes = Random::new(5).bytes(4 << 20);
    // The peer has ended its side, so there is no receive to cancel.
    sides.sides[0].peer.shutdown(Shutdown::Write).expect("it is open");
    let until = Instant::now() + testkit::PATIENCE;
    while sides.uring.read(sides.sides[0].socket.as_fd(), &mut [0]).ok() != Some(0) {
        sides.wait(Duration::from_millis(1));
        assert!(Instant::now() < until, "the end of the stream is not reported");
    }
    let Side { socket, mut peer, .. } = sides.sides.pop().expect("there is one");
    let count = sides.uring.write(socket.as_fd(), &[IoSlice::new(&bytes)]).expect("it is taken");
    assert!(count < bytes.len() && sides.uring.unsent(socket.as_fd()) > 0, "the socket is full");
    sides.uring.remove(socket.as_fd()).expect("it is removed");
    drop(socket);
    // Its number may be given to another one, before the loop waits.
    let (_next, _others) = UnixStream::pair().expect("a pair opens");
    let mut received = Vec::new();
    loop {
        sides.wait(Duration::from_millis(1));
        let mut room = [0; 4096];
        match peer.read(&mut room) {
            Ok(0) => break,
            Ok(length) => received.extend_from_slice(&room[..length]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        assert!(Instant::now() < until, "the stream does not end");
    }
    assert!(received == bytes[..count], "{} of {count} bytes", received.len());
}
