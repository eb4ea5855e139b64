//! Ends the connections of dropped sources.

use std::{
    collections::{BTreeSet, HashSet},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;
use weir_common::abi::{FlowKey, Protocol};

use super::{
    SocketError,
    diag::{Diag, Socket, states},
    filter,
};
use crate::system::address;

/// Whose connections to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Remote addresses. IPv4 prefixes also match IPv4-mapped peers.
    pub remotes: Vec<IpNet>,
    /// Remote addresses among them that are left alone.
    pub except: Vec<IpNet>,
    /// Those that are left alone at some ports and nowhere else.
    pub sessions: AtPorts,
    /// Only connections to these ports of this host; `None` = to any.
    pub local_ports: Option<Vec<u16>>,
}

/// Some addresses at some ports of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtPorts {
    /// The addresses.
    pub remotes: Vec<IpNet>,
    /// The ports.
    pub ports: Vec<u16>,
}

/// What [`destroy`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Connections that matched.
    pub found: usize,
    /// Those that this call ended; the others had ended by themselves in between.
    pub ended: usize,
}

/// Ends every TCP connection of the targets to a port that this host listens on. Connections that
/// this host opened are left alone, as the verdict itself leaves them alone.
pub fn destroy(targets: &Targets) -> Result<Ended, SocketError> {
    if targets.remotes.is_empty() {
        return Ok(Ended::default());
    }
    let failed = |operation| move |source| SocketError::Kernel { operation, source };
    let mut diag = Diag::open().map_err(failed("list"))?;
    let listening = listening_ports(&mut diag)?;
    let wanted = Remotes::new(&targets.remotes);
    let spared = Remotes::new(&targets.except);
    let at_home = Remotes::new(&targets.sessions.remotes);
    let home = &targets.sessions.ports;
    let mut sockets: Vec<Socket> = Vec::new();
    diag.dump(states::OPEN, &filter::remote_in(&targets.remotes), |socket| {
        let (port, remote) = (socket.local().port(), socket.remote().ip());
        if listening.contains(&port)
            && targets.local_ports.as_ref().is_none_or(|ports| ports.contains(&port))
            && wanted.contains(remote)
            && !spared.contains(remote)
            && !(home.contains(&port) && at_home.contains(remote))
        {
            sockets.push(socket);
        }
    })
    .map_err(failed("list"))?;
    end(&mut diag, &sockets)
}

/// Ends single connections that came in to this host. Others than TCP are passed over.
pub fn destroy_flows(flows: &[FlowKey]) -> Result<Ended, SocketError> {
    let failed = |operation| move |source| SocketError::Kernel { operation, source };
    let ends = |flow: &FlowKey| {
        let end = |words, port: u16| SocketAddr::new(address::ip(words), u16::from_be(port));
        (end(&flow.remote, flow.remote_port), end(&flow.local, flow.local_port))
    };
    let tcp = flows.iter().filter(|flow| flow.protocol == Protocol::Tcp as u32);
    let wanted: HashSet<(SocketAddr, SocketAddr)> = tcp.map(ends).collect();
    if wanted.is_empty() {
        return Ok(Ended::default());
    }
    let remotes: BTreeSet<IpNet> = wanted.iter().map(|(remote, _)| remote.ip().into()).collect();
    let remotes: Vec<IpNet> = remotes.into_iter().collect();
    let mut diag = Diag::open().map_err(failed("list"))?;
    let mut sockets: Vec<Socket> = Vec::new();
    diag.dump(states::OPEN, &filter::remote_in(&remotes), |socket| {
        if wanted.contains(&(socket.remote(), socket.local())) {
            sockets.push(socket);
        }
    })
    .map_err(failed("list"))?;
    end(&mut diag, &sockets)
}

fn end(diag: &mut Diag, sockets: &[Socket]) -> Result<Ended, SocketError> {
    let failed = |operation| move |source| SocketError::Kernel { operation, source };
    let mut ended = 0;
    for socket in sockets {
        match diag.destroy(socket) {
            Ok(()) => ended += 1,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => {}
                Some(libc::EOPNOTSUPP) => return Err(SocketError::Unsupported),
                _ => return Err(failed("end")(error)),
            },
        }
    }
    Ok(Ended { found: sockets.len(), ended })
}

/// Ports that a socket of this host listens on.
pub(super) fn listening_ports(diag: &mut Diag) -> Result<HashSet<u16>, SocketError> {
    let mut ports = HashSet::new();
    diag.dump(states::LISTEN, &[], |socket| {
        ports.insert(socket.local().port());
    })
    .map_err(|source| SocketError::Kernel { operation: "list", source })?;
    Ok(ports)
}

/// Many prefixes, asked for one address: a look-up per distinct prefix length.
struct Remotes {
    prefixes: HashSet<IpNet>,
    lengths_v4: BTreeSet<u8>,
    lengths_v6: BTreeSet<u8>,
}

impl Remotes {
    fn new(remotes: &[IpNet]) -> Self {
        let lengths = |is_v4: bool| {
            let of_family = remotes.iter().filter(|prefix| prefix.addr().is_ipv4() == is_v4);
            of_family.map(IpNet::prefix_len).collect()
        };
        Self {
            prefixes: remotes.iter().map(IpNet::trunc).collect(),
            lengths_v4: lengths(true),
            lengths_v6: lengths(false),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let lengths = if address.is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths.iter().any(|length| {
            IpNet::new(address, *length).is_ok_and(|net| self.prefixes.contains(&net.trunc()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read},
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::{super::super::netns::private, *};

    /// A connection to `address`, both ends.
    fn connection(listener: &TcpListener, address: &str) -> (TcpStream, TcpStream) {
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((address, port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        (client, server)
    }

    /// How the server's end stands: "open" (a read times out) or what ended it.
    fn state(server: &mut TcpStream) -> &'static str {
        match server.read(&mut [0; 1]).map_err(|error| error.kind()) {
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => "open",
            Err(ErrorKind::ConnectionAborted) => "ended",
            Err(_) => "failed",
            Ok(_) => "closed",
        }
    }

    fn targets(remotes: &[&str]) -> Targets {
        let remotes = remotes.iter().map(|text| text.parse().unwrap()).collect();
        Targets { remotes, ..Targets::default() }
    }

    fn end(remotes: &[&str]) -> Ended {
        destroy(&targets(remotes)).unwrap()
    }

    #[test]
    fn connections_of_a_remote_end_and_others_stay() {
        private(|| {
            let v4 = TcpListener::bind("0.0.0.0:8080").unwrap();
            let dual = TcpListener::bind("[::]:9090").unwrap();
            let (_c1, mut plain) = connection(&v4, "127.0.0.1");
            let (_c2, mut mapped) = connection(&dual, "127.0.0.1");
            let (_c3, mut six) = connection(&dual, "::1");

            assert_eq!(end(&["192.0.2.0/24"]), Ended::default());
            let other_port = Targets { local_ports: Some(vec![443]), ..targets(&["127.0.0.1/32"]) };
            assert_eq!(destroy(&other_port).unwrap(), Ended::default());
            let except = vec!["127.0.0.1/32".parse().unwrap()];
            let spared = Targets { except, ..targets(&["127.0.0.0/8"]) };
            assert_eq!(destroy(&spared).unwrap(), Ended::default());

            let one_port = Targets { local_ports: Some(vec![8080]), ..targets(&["127.0.0.1/32"]) };
            assert_eq!(destroy(&one_port).unwrap(), Ended { found: 1, ended: 1 });
            assert_eq!(state(&mut plain), "ended");
            assert_eq!((state(&mut mapped), state(&mut six)), ("open", "open"));

            let prefix = end(&["198.51.100.0/24", "127.0.0.0/8"]);
            assert_eq!(prefix.ended, 1, "the IPv4-mapped peer is an IPv4 peer");
            assert_eq!((state(&mut mapped), state(&mut six)), ("ended", "open"));

            assert_eq!(end(&["198.51.100.7/32", "::/64"]).ended, 1);
            assert_eq!(state(&mut six), "ended");
        });
    }

    #[test]
    fn who_is_spared_at_some_ports_is_spared_at_no_other() {
        private(|| {
            let home = TcpListener::bind("127.0.0.1:2222").unwrap();
            let other = TcpListener::bind("127.0.0.1:8080").unwrap();
            let (_c1, mut at_home) = connection(&home, "127.0.0.1");
            let (_c2, mut elsewhere) = connection(&other, "127.0.0.1");
            let remotes = vec!["127.0.0.1/32".parse().unwrap()];
            let sessions = AtPorts { remotes, ports: vec![2222] };
            let all = Targets { sessions, ..targets(&["127.0.0.0/8"]) };
            assert_eq!(destroy(&all).unwrap(), Ended { found: 1, ended: 1 });
            assert_eq!((state(&mut at_home), state(&mut elsewhere)), ("open", "ended"));
        });
    }

    #[test]
    fn more_prefixes_than_the_kernel_filters_find_the_same_connections() {
        private(|| {
            let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
            let (_client, mut server) = connection(&listener, "127.0.0.1");
            let mut many = targets(&[]);
            many.remotes = (0..200).map(|n| format!("192.0.2.{n}/32").parse().unwrap()).collect();
            assert_eq!(destroy(&many).unwrap(), Ended::default());
            many.remotes.push("127.0.0.0/24".parse().unwrap());
            assert_eq!(destroy(&many).unwrap(), Ended { found: 1, ended: 1 });
            assert_eq!(state(&mut server), "ended");
        });
    }

    #[test]
    fn a_single_connection_ends_and_its_neighbours_stay() {
        private(|| {
            let v4 = TcpListener::bind("127.0.0.1:8080").unwrap();
            let dual = TcpListener::bind("[::]:9090").unwrap();
            let (one, mut server_of_one) = connection(&v4, "127.0.0.1");
            let (_other, mut server_of_other) = connection(&v4, "127.0.0.1");
            let (mapped, mut server_of_mapped) = connection(&dual, "127.0.0.1");
            let key = |client: &TcpStream| {
                let (remote, local) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
                FlowKey {
                    remote: address::words(remote.ip()),
                    local: address::words(local.ip()),
                    remote_port: remote.port().to_be(),
                    local_port: local.port().to_be(),
                    protocol: Protocol::Tcp as u32,
                }
            };
            let udp = FlowKey { protocol: Protocol::Udp as u32, ..key(&one) };
            assert_eq!(destroy_flows(&[udp]).unwrap(), Ended::default());
            assert_eq!(destroy_flows(&[key(&one), key(&mapped)]).unwrap().ended, 2);
            let states =
                [&mut server_of_one, &mut server_of_other, &mut server_of_mapped].map(state);
            assert_eq!(states, ["ended", "open", "ended"]);
        });
    }

    #[test]
    fn what_this_host_opened_is_left_alone() {
        private(|| {
            let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
            let (client, server) = connection(&listener, "127.0.0.1");
            // Nobody listens on the server's port any more, so neither end is told to be a server's.
            drop(listener);
            assert_eq!(end(&["127.0.0.1/32"]), Ended::default());
            drop((client, server));
        });
    }
}
