//! Open connections, with real sockets in a namespace of their own.

use std::{
    io::{ErrorKind, Read},
    net::{TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};

use super::{Site, ask, block, connections, twin};
use crate::{
    api::{command::Block, message::OperatorAction},
    system::netns::private,
};

#[test]
fn a_verdict_ends_the_connections_that_it_is_for_and_no_others() {
    private(|| {
        Site::run("ends", twin(), |_, daemon| {
            let shop = TcpListener::bind("127.0.0.1:8080").unwrap();
            let ssh = TcpListener::bind("127.0.0.1:22").unwrap();
            let (_c1, mut bot_at_shop) = connection(&shop, [127, 0, 0, 2]);
            let (_c2, mut bot_at_ssh) = connection(&ssh, [127, 0, 0, 2]);
            let (_c3, mut other) = connection(&shop, [127, 0, 0, 3]);

            daemon.handle(&connections("127.0.0.2", 25));
            assert!(is_ended(&mut bot_at_shop));
            assert!(!is_ended(&mut bot_at_ssh), "the policy is for another service");
            assert!(!is_ended(&mut other));

            ask(daemon, block(&["127.0.0.3/32"], OperatorAction::Allow)).unwrap();
            let observed = Block { observe: true, ..block(&["127.0.0.0/8"], OperatorAction::Drop) };
            assert_eq!(ask(daemon, observed).unwrap().connections_ended, 0);
            let blocked = ask(daemon, block(&["127.0.0.0/8"], OperatorAction::Drop)).unwrap();
            assert_eq!(blocked.connections_ended, 1);
            assert!(is_ended(&mut bot_at_ssh));
            assert!(!is_ended(&mut other), "an allow spares it");
        });
    });
}

/// A connection to a listener from an address of this host's choice, both ends.
fn connection(listener: &TcpListener, from: [u8; 4]) -> (TcpStream, TcpStream) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    let [a, b, c, d] = from;
    bind(client.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    connect(client.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    (TcpStream::from(client), server)
}

/// Whether the server's end of a connection is ended within half a second.
fn is_ended(server: &mut TcpStream) -> bool {
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let error = server.read(&mut [0; 1]).unwrap_err();
    error.kind() == ErrorKind::ConnectionAborted
}
