//! The lab itself: namespaces come and go, every address answers, and what a crash leaves behind
//! is removed while a living lab is left alone.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::Duration,
};

use weir_lab::{
    net::{
        Direction, Family, LINKS, Lab, LabId, Namespace, Recorder, clean, read_pcap, write_pcap,
    },
    packet::{TcpFlags, ipv6, read, tcp},
    require_root,
};

const SECOND: Duration = Duration::from_secs(1);
const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);

#[test]
fn a_lab_leaves_nothing_behind() {
    require_root!("a_lab_leaves_nothing_behind");
    let lab = Lab::builder().second_interface().build().unwrap();
    let namespaces = [lab.edge().path(), lab.clients().path()];
    let directory = lab.directory().to_owned();
    assert!(namespaces.iter().all(|path| path.exists()));
    assert!(mounted(&lab.bpffs()));
    fs::write(lab.state_dir().join("journal"), "kept").unwrap();
    drop(lab);
    assert!(!namespaces.iter().any(|path| path.exists()));
    assert!(!directory.exists());
    assert!(!mounted(&directory.join("bpf")));
}

#[test]
fn labs_do_not_meet() {
    require_root!("labs_do_not_meet");
    let (one, other) = (Lab::new().unwrap(), Lab::new().unwrap());
    let shop = one.link().shop(Family::V4);
    let _listener = listen(&one, shop);
    one.wire().unwrap().send(&tcp(stranger_v4(), shop).syn().build()).unwrap();
    let heard = other.wire().unwrap().expect_tcp(SECOND / 5, |_| true).unwrap();
    assert_eq!(heard, None);
}

#[test]
fn a_syn_in_anyones_name_is_answered_into_the_wire() {
    require_root!("a_syn_in_anyones_name_is_answered_into_the_wire");
    let lab = Lab::new().unwrap();
    let wire = lab.wire().unwrap();
    for (family, from) in [(Family::V4, stranger_v4()), (Family::V6, stranger_v6())] {
        let shop = lab.link().shop(family);
        let _listener = listen(&lab, shop);
        wire.send(&tcp(from, shop).syn().seq(700).linux_options().build()).unwrap();
        let answer = wire.expect_tcp(SECOND, |segment| segment.to == from).unwrap().unwrap();
        assert!(answer.is(SYN_ACK), "{answer:?}");
        assert_eq!((answer.from, answer.ack), (shop, 701));
    }
}

#[test]
fn the_kernel_ignores_a_wrong_checksum() {
    require_root!("the_kernel_ignores_a_wrong_checksum");
    let lab = Lab::new().unwrap();
    let (wire, shop) = (lab.wire().unwrap(), lab.link().shop(Family::V4));
    let _listener = listen(&lab, shop);
    wire.send(&tcp(stranger_v4(), shop).syn().bad_checksum().build()).unwrap();
    assert_eq!(wire.expect_tcp(SECOND / 5, |_| true).unwrap(), None);
}

#[test]
fn the_kernel_understands_neighbour_discovery() {
    require_root!("the_kernel_understands_neighbour_discovery");
    let lab = Lab::new().unwrap();
    let wire = lab.wire().unwrap();
    let link = lab.link();
    let question = ipv6(link.gateway_v6, link.server_v6).neighbour_solicitation(link.server_v6);
    wire.send(&question.build()).unwrap();
    let answer = wire.expect(SECOND, |packet| packet.from == link.server_v6).unwrap().unwrap();
    assert_eq!((answer.to, answer.protocol), (link.gateway_v6.into(), 58));
}

#[test]
fn both_links_carry_traffic_from_their_own_range() {
    require_root!("both_links_carry_traffic_from_their_own_range");
    let lab = Lab::builder().second_interface().build().unwrap();
    for link in LINKS {
        for family in [Family::V4, Family::V6] {
            let shop = link.shop(family);
            let listener = listen(&lab, shop);
            let client: std::net::IpAddr = match family {
                Family::V4 => link.client_v4(7).into(),
                Family::V6 => link.client_v6(7).into(),
            };
            let connected = lab.clients().block_on(|| async move {
                let socket = match family {
                    Family::V4 => tokio::net::TcpSocket::new_v4(),
                    Family::V6 => tokio::net::TcpSocket::new_v6(),
                }?;
                socket.bind(SocketAddr::new(client, 0))?;
                tokio::time::timeout(SECOND, socket.connect(shop)).await?
            });
            let stream = connected.unwrap().unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), client);
            assert_eq!(stream.local_addr().unwrap(), peer);
        }
    }
}

#[test]
fn variables_are_those_of_the_edge_alone() {
    require_root!("variables_are_those_of_the_edge_alone");
    let read = || fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies").unwrap();
    let outside = read();
    let lab = Lab::builder().sysctl("net/ipv4/tcp_syncookies", 2).build().unwrap();
    assert_eq!(lab.edge().run(read).unwrap(), "2\n");
    assert_eq!(read(), outside);
}

#[test]
fn a_child_process_is_inside_and_sees_bpffs() {
    require_root!("a_child_process_is_inside_and_sees_bpffs");
    let lab = Lab::new().unwrap();
    fs::create_dir(lab.bpffs().join("weir")).unwrap();
    let output = lab.edge().command("ls").arg(lab.bpffs()).output().unwrap();
    // Beside it stands what the kernel itself may pin at every mount.
    assert!(String::from_utf8(output.stdout).unwrap().lines().any(|name| name == "weir"));
    let output = lab.edge().command("ip").args(["-brief", "link"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("edge0"));
}

#[test]
fn a_recording_holds_both_directions_in_order() {
    require_root!("a_recording_holds_both_directions_in_order");
    let lab = Lab::new().unwrap();
    let (wire, shop) = (lab.wire().unwrap(), lab.link().shop(Family::V4));
    let _listener = listen(&lab, shop);
    let recorder = Recorder::start(lab.edge(), lab.link().edge_interface, 1000).unwrap();
    let syn = tcp(stranger_v4(), shop).syn().build();
    wire.send(&syn).unwrap();
    wire.expect_tcp(SECOND, |segment| segment.is(SYN_ACK)).unwrap().unwrap();
    let capture = recorder.stop().unwrap();
    // Multicast group reports of the kernels may stand between.
    let talk: Vec<_> = capture
        .iter()
        .filter_map(|frame| Some((frame.direction, read(&frame.bytes)?.tcp?.flags)))
        .collect();
    assert_eq!(talk, [(Direction::In, TcpFlags::SYN), (Direction::Out, SYN_ACK)]);
    assert!(capture.iter().any(|frame| frame.bytes == syn));
    let file = lab.directory().join("capture.pcap");
    write_pcap(&file, &capture).unwrap();
    assert_eq!(read_pcap(&file).unwrap(), capture);
}

#[test]
fn what_a_crash_left_behind_is_removed_and_a_living_lab_is_not() {
    require_root!("what_a_crash_left_behind_is_removed_and_a_living_lab_is_not");
    let living = Lab::new().unwrap();
    // A lab whose maker ended: a process that came and went.
    let mut maker = Command::new("true").spawn().unwrap();
    maker.wait().unwrap();
    let dead = format!("{}-1-0", maker.id());
    let id: LabId = dead.parse().unwrap();
    assert!(!id.maker_lives());
    let namespace = Namespace::create(&format!("weir-lab-{dead}-edge")).unwrap();
    let mut inhabitant = namespace.command("sleep").arg("60").spawn().unwrap();
    let directory = Path::new("/run/weir-lab").join(&dead);
    fs::create_dir_all(directory.join("bpf")).unwrap();

    // Another lab that starts in another test may clean first, so the result is what counts.
    clean().unwrap();
    let status = inhabitant.wait().unwrap();
    assert!(!status.success(), "killed, not finished");
    assert!(!namespace.path().exists());
    assert!(!directory.exists());
    assert!(living.edge().path().exists());
    assert!(mounted(&living.bpffs()));
}

fn stranger_v4() -> SocketAddr {
    "198.18.7.7:40000".parse().unwrap()
}

fn stranger_v6() -> SocketAddr {
    "[2001:db8:bad::1]:40000".parse().unwrap()
}

fn listen(lab: &Lab, address: SocketAddr) -> TcpListener {
    lab.edge().run(|| TcpListener::bind(address)).unwrap().unwrap()
}

fn mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}
