//! Exemptions cannot be earned by packets: not by connecting to the port that the host is managed by, and
//! not in the name of a resolver, a gateway, the host itself or somebody who is allowed.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use weir_lab::{
    actors::visit,
    clock::{sleep, wait_until},
    net::{Family, Lab, sockets},
    packet::{Udp, ipv4, tcp},
    require_root,
    server::Server,
    weir::{Daemon, Weir},
};

/// Where logind keeps sessions.
const SESSIONS: &str = "/run/systemd/sessions";
/// Where the host of these tests is managed.
const MANAGEMENT: u16 = 2222;
/// A port that nothing protects and nobody manages anything by.
const OTHER: u16 = 3333;
/// A service over UDP.
const DATAGRAMS: u16 = 5300;

const POLICY: &str = "
kind: Site
services:
  shop: {tcp: [443], syn_guard: {rate: 1/s, burst: 4}}
  datagrams: {udp: [5300]}
never_block: {management: [2222]}
";

const ADMIN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const IN_VAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
/// Sessions are looked at every five seconds.
const LOOKED: Duration = Duration::from_secs(30);

/// A lab with Weir on its edge. A macro, because the daemon borrows the lab.
macro_rules! scene {
    ($lab:ident, $weir:ident, $daemon:ident) => {
        let $lab = Lab::new().unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let policy = $weir.policy(POLICY).unwrap();
        let $daemon: Daemon<'_> = $weir.run(&[$lab.link().edge_interface], &policy).unwrap();
    };
}

/// Somebody who listens on the edge.
fn listen(lab: &Lab, port: u16) -> TcpListener {
    lab.edge().run(|| TcpListener::bind(("0.0.0.0", port))).unwrap().unwrap()
}

/// Connects from an address of the clients.
fn connect(lab: &Lab, from: Ipv4Addr, port: u16, patience: Duration) -> Option<TcpStream> {
    let server = SocketAddr::new(lab.link().server(Family::V4), port);
    lab.clients()
        .run(|| {
            use nix::sys::socket::{
                AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket,
                sockopt::SendTimeout,
            };
            use std::os::fd::AsRawFd as _;
            let socket =
                socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                    .unwrap();
            let [a, b, c, d] = from.octets();
            bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
            let patience = nix::sys::time::TimeVal::new(
                i64::try_from(patience.as_secs()).unwrap(),
                i64::from(patience.subsec_micros()),
            );
            setsockopt(&socket, SendTimeout, &patience).unwrap();
            let SocketAddr::V4(server) = server else { unreachable!() };
            let connected = connect(socket.as_raw_fd(), &SockaddrIn::from(server));
            connected.is_ok().then(|| TcpStream::from(socket))
        })
        .unwrap()
}

fn sessions(weir: &Weir<'_>) -> u64 {
    status(weir)["guards"]["sessions"].as_u64().unwrap()
}

fn status(weir: &Weir<'_>) -> serde_json::Value {
    serde_json::from_str(&weir.ask(&["status", "--format", "json"]).unwrap()).unwrap()
}

fn block(weir: &Weir<'_>, whom: &str) {
    weir.ask(&["block", whom, "--for", "10m", "--reason", "a test"]).unwrap();
}

/// Which address of the lab somebody uses.
type AddressOf<'a> = &'a dyn Fn(&Lab) -> IpAddr;

#[test]
fn connecting_to_the_management_port_earns_nothing() {
    require_root!("connecting_to_the_management_port_earns_nothing");
    scene!(lab, weir, _daemon);
    let listener = listen(&lab, MANAGEMENT);
    let mut held = Vec::new();
    for last in 1..=100 {
        let from = Ipv4Addr::new(203, 0, 113, last);
        held.push(connect(&lab, from, MANAGEMENT, PATIENCE).unwrap());
        held.push(listener.accept().unwrap().0);
    }
    // Longer than Weir takes to look at who is logged in.
    sleep(Duration::from_secs(7));
    println!("{} connections to the management port, {} exemptions", 100, sessions(&weir));
    assert_eq!(sessions(&weir), 0);
    block(&weir, "203.0.113.0/24");
    assert!(connect(&lab, STRANGER, MANAGEMENT, IN_VAIN).is_none(), "it was let in");
    let open = sockets(lab.edge()).unwrap().iter().filter(|it| it.is_open()).count();
    assert_eq!(open, 0, "a hundred connections, and none of them stays");
}

#[test]
fn whoever_is_logged_in_stays_at_the_management_port_and_nowhere_else() {
    require_root!("whoever_is_logged_in_stays_at_the_management_port_and_nowhere_else");
    // Weir may read what is there when it starts.
    fs::create_dir_all(SESSIONS).unwrap();
    scene!(lab, weir, _daemon);
    let (listener, other) = (listen(&lab, MANAGEMENT), listen(&lab, OTHER));
    let _client = connect(&lab, ADMIN, MANAGEMENT, PATIENCE).unwrap();
    let _elsewhere = connect(&lab, ADMIN, OTHER, PATIENCE).unwrap();
    let mut session = FakeSshd::serve(lab.directory(), ADMIN, listener.accept().unwrap().0);
    wait_until("the session is seen", LOOKED, || Ok(sessions(&weir) == 1)).unwrap();

    block(&weir, "203.0.113.0/24");
    let again = connect(&lab, ADMIN, MANAGEMENT, PATIENCE);
    assert!(again.is_some(), "the administrator is locked out");
    let open_at = |port| {
        let all = sockets(lab.edge()).unwrap();
        all.iter().filter(|it| it.is_open() && it.local.port() == port).count()
    };
    wait_until("what else the administrator did is ended", PATIENCE, || Ok(open_at(OTHER) == 0))
        .unwrap();
    assert!(session.goes_on(), "the session was cut off");
    assert_eq!(open_at(MANAGEMENT), 2, "that of the session, and the new one");
    assert!(connect(&lab, ADMIN, OTHER, IN_VAIN).is_none(), "an exemption for every port");
    assert!(connect(&lab, STRANGER, MANAGEMENT, IN_VAIN).is_none(), "a neighbour's exemption");
    drop((session, other));
}

/// A session as logind keeps it, led by a process that is called as sshd is. Weir drops the capability to
/// look at others' sockets, so that the tree of processes alone would tell it nothing.
struct FakeSshd {
    leader: Child,
    file: PathBuf,
}

impl FakeSshd {
    fn serve(directory: &Path, peer: Ipv4Addr, connection: TcpStream) -> Self {
        // A process is called after its program.
        let program = directory.join("sshd");
        fs::copy("/bin/bash", &program).unwrap();
        let mut command = Command::new(&program);
        let stdin = Stdio::from(std::os::fd::OwnedFd::from(connection));
        let leader = command.args(["-c", "read -r line; :"]).stdin(stdin).spawn().unwrap();
        let file = Path::new(SESSIONS).join(format!("weir-lab-{}", std::process::id()));
        let session = format!(
            "STATE=active\nREMOTE=1\nCLASS=user\nSERVICE=sshd\nREMOTE_HOST={peer}\nLEADER={}\n",
            leader.id()
        );
        fs::write(&file, session).unwrap();
        Self { leader, file }
    }

    fn goes_on(&mut self) -> bool {
        self.leader.try_wait().unwrap().is_none()
    }
}

impl Drop for FakeSshd {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

/// A datagram over IPv4.
fn udp(from: SocketAddr, to: SocketAddr) -> Udp {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else {
        unreachable!()
    };
    ipv4(source, destination).udp(from.port(), to.port())
}

/// What came of what was sent in somebody's name.
#[derive(Debug)]
struct Spoofed {
    held_back: u64,
    proofs: u64,
    sources: u64,
    reached: usize,
}

/// SYNs and datagrams in somebody's name, more than any guard lets through.
fn spoof(lab: &Lab, weir: &Weir<'_>, name: IpAddr) -> Spoofed {
    let inbox = lab.edge().run(|| UdpSocket::bind(("0.0.0.0", DATAGRAMS)).unwrap()).unwrap();
    inbox.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (wire, before) = (lab.wire().unwrap(), weir.status().unwrap());
    let server = lab.link().server(Family::V4);
    for number in 0..60u16 {
        let from = SocketAddr::new(name, 20_000 + number);
        let shop = SocketAddr::new(server, 443);
        wire.send(&tcp(from, shop).syn().seq(u32::from(number)).linux_options().build()).unwrap();
        let datagram = udp(from, SocketAddr::new(server, DATAGRAMS)).payload(b"in its name");
        wire.send(&datagram.build()).unwrap();
    }
    sleep(Duration::from_millis(100));
    let mut reached = 0;
    let mut buffer = [0; 64];
    while inbox.recv(&mut buffer).is_ok() {
        reached += 1;
    }
    let after = weir.status().unwrap();
    let entries = |status: &weir_lab::weir::Status| status.map("SOURCES").unwrap().entries.unwrap();
    Spoofed {
        held_back: after.packets("limit_guard") - before.packets("limit_guard"),
        proofs: after.proofs() - before.proofs(),
        sources: entries(&after) - entries(&before),
        reached,
    }
}

#[test]
fn whoever_is_spoofed_nothing_is_proven_and_the_syn_guard_holds() {
    require_root!("whoever_is_spoofed_nothing_is_proven_and_the_syn_guard_holds");
    let gateway = |lab: &Lab| IpAddr::from(lab.link().gateway_v4);
    let own = |lab: &Lab| lab.link().server(Family::V4);
    let allowed = |_: &Lab| IpAddr::from([198, 18, 0, 7]);
    let names: [(&str, AddressOf<'_>); 3] =
        [("gateway", &gateway), ("own", &own), ("allowed", &allowed)];
    for (what, name) in names {
        scene!(lab, weir, _daemon);
        let name = name(&lab);
        weir.ask(&["block", "198.18.0.7", "--action", "allow", "--reason", "partner"]).unwrap();
        let spoofed = spoof(&lab, &weir, name);
        println!("{what}, {name}: {spoofed:?} of 60 SYNs and 60 datagrams");
        assert!(
            spoofed.held_back >= 50,
            "{what}: the guard let {} through",
            60 - spoofed.held_back
        );
        assert_eq!((spoofed.proofs, spoofed.sources), (0, 0), "{what}: something was proven");
        if what == "own" {
            // Linux discards what comes from outside in this host's own name.
            assert_eq!(spoofed.reached, 0, "{what}: the application was reached");
        }
        // Nor is anybody held back for it.
        assert!(!weir.verdicts().unwrap().of(name).any(|verdict| verdict.restricts()), "{what}");
    }
}

#[test]
fn a_gateway_and_the_host_cannot_be_blocked_and_stay_open_in_a_blocked_network() {
    require_root!("a_gateway_and_the_host_cannot_be_blocked_and_stay_open_in_a_blocked_network");
    scene!(lab, weir, _daemon);
    for own in [IpAddr::from(lab.link().gateway_v4), lab.link().server(Family::V4)] {
        let refused = weir.refusal(&["block", &own.to_string(), "--reason", "a test"]).unwrap();
        assert!(format!("{refused:?}").contains("gateway"), "{refused:?}");
    }
    block(&weir, "198.51.100.0/24");
    let listener = listen(&lab, OTHER);
    assert!(connect(&lab, lab.link().gateway_v4, OTHER, PATIENCE).is_some());
    drop(listener);
}

#[test]
fn a_new_gateway_is_never_blocked_from_the_moment_it_is_one() {
    require_root!("a_new_gateway_is_never_blocked_from_the_moment_it_is_one");
    scene!(lab, weir, _daemon);
    let neighbour = "198.51.100.77";
    block(&weir, neighbour);
    assert!(weir.verdicts().unwrap().of(neighbour.parse().unwrap()).any(|it| it.blocks()));
    // In a table of its own, as policy routing has it.
    lab.edge().ip(&format!("route add 192.0.2.0/24 via {neighbour} table 77\n")).unwrap();
    wait_until("its verdict is gone", Duration::from_secs(3), || {
        Ok(!weir.verdicts()?.of(neighbour.parse()?).any(|it| it.blocks()))
    })
    .unwrap();
    assert_eq!(status(&weir)["guards"]["lifted"].as_u64(), Some(1));
    weir.refusal(&["block", neighbour, "--reason", "a test"]).unwrap();
}

#[test]
fn a_resolvers_address_is_nobody_special_and_its_answers_pass_all_the_same() {
    require_root!("a_resolvers_address_is_nobody_special_and_its_answers_pass_all_the_same");
    scene!(lab, weir, _daemon);
    let resolver = lab.link().client_v4(53);
    let answers = lab.clients().run(|| UdpSocket::bind((resolver, 53)).unwrap()).unwrap();
    answers.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = lab.edge().run(|| UdpSocket::bind(("0.0.0.0", 0)).unwrap()).unwrap();
    host.set_read_timeout(Some(PATIENCE)).unwrap();
    block(&weir, &resolver.to_string());

    // In its name nothing gets through …
    let spoofed = spoof(&lab, &weir, resolver.into());
    println!("a blocked resolver, {resolver}: {spoofed:?} of 60 SYNs and 60 datagrams");
    assert_eq!((spoofed.reached, spoofed.proofs), (0, 0));
    // … not even from the port that it answers from …
    let wire = lab.wire().unwrap();
    let local = SocketAddr::new(lab.link().server(Family::V4), host.local_addr().unwrap().port());
    wire.send(&udp((resolver, 53).into(), local).payload(b"unasked").build()).unwrap();
    // … but what this host asked for does.
    sleep(Duration::from_millis(100));
    host.send_to(b"question", (resolver, 53)).unwrap();
    let mut buffer = [0; 64];
    let (length, from) = answers.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"question");
    answers.send_to(b"answer", from).unwrap();
    let length = host.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
}

#[test]
fn verdicts_of_one_heartbeat_stop_with_the_daemon_and_those_of_another_go_on() {
    require_root!("verdicts_of_one_heartbeat_stop_with_the_daemon_and_those_of_another_go_on");
    scene!(lab, weir, daemon);
    let server = Server::start(&lab).unwrap();
    let (brief, lasting) = (STRANGER, Ipv4Addr::new(203, 0, 113, 67));
    let set = |whom: Ipv4Addr, more: &[&str]| {
        let whom = whom.to_string();
        let block = ["block", whom.as_str(), "--for", "10m", "--reason", "a test"];
        weir.ask(&[&block[..], more].concat()).unwrap();
    };
    set(brief, &["--heartbeat", "3s"]);
    set(lasting, &[]);
    let is_served =
        |whom: Ipv4Addr| visit(&lab, &server, whom.into(), Duration::from_millis(1500)).is_ok();
    assert!(!is_served(brief) && !is_served(lasting));
    daemon.kill().unwrap();
    sleep(Duration::from_secs(4));
    assert!(is_served(brief), "it acts without a pulse for longer than it says");
    assert!(!is_served(lasting), "it outlives the daemon until its end");
    let policy = weir.policy(POLICY).unwrap();
    let _again = weir.run(&[lab.link().edge_interface], &policy).unwrap();
    assert!(!is_served(brief), "it acts again when the daemon is back");
    assert!(!is_served(lasting));
}
