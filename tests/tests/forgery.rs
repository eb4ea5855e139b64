//! What the bare kernel makes of forged packets: the reason why a sensor must be careful.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{net::IpAddr, time::Duration};

use weir_lab::{
    forgery::Forgery,
    net::{Family, Lab, sockets},
    packet::TcpFlags,
    require_root,
    server::Server,
};

const SYN_ACK: TcpFlags = TcpFlags::SYN.union(TcpFlags::ACK);
const QUIET: Duration = Duration::from_millis(150);

/// What the server answered to one forgery in the name of someone who is not there.
fn answers(cookies: u8, family: Family, forgery: Forgery) -> Vec<TcpFlags> {
    let lab = Lab::builder().sysctl("net/ipv4/tcp_syncookies", cookies).build().unwrap();
    let server = Server::start(&lab).unwrap();
    let victim: IpAddr = match family {
        Family::V4 => "198.18.7.7".parse().unwrap(),
        Family::V6 => "2001:db8:bad::7".parse().unwrap(),
    };
    let wire = lab.wire().unwrap();
    forgery.commit(&wire, victim, lab.link().shop(family), 1).unwrap();
    let heard = wire.collect_tcp(QUIET).unwrap();
    let established =
        sockets(lab.edge()).unwrap().iter().any(|s| s.remote.ip() == victim && s.is_open());
    assert!(!established, "{forgery:?} made a connection");
    assert_eq!(server.visitor(victim).connections, 0);
    heard.iter().filter(|segment| segment.to.ip() == victim).map(|segment| segment.flags).collect()
}

#[test]
fn two_blind_packets_make_linux_send_a_bare_ack() {
    require_root!("two_blind_packets_make_linux_send_a_bare_ack");
    for family in [Family::V4, Family::V6] {
        for forgery in Forgery::ALL {
            let answers = answers(1, family, forgery);
            let bare_ack = answers.contains(&TcpFlags::ACK);
            assert_eq!(bare_ack, forgery.provokes_bare_ack(), "{forgery:?}: {answers:?}");
        }
    }
}

#[test]
fn with_cookies_always_no_half_open_connection_is_there_to_answer() {
    require_root!("with_cookies_always_no_half_open_connection_is_there_to_answer");
    for forgery in Forgery::ALL {
        let answers = answers(2, Family::V4, forgery);
        assert!(!answers.contains(&TcpFlags::ACK), "{forgery:?}: {answers:?}");
        let has_syn = !matches!(forgery, Forgery::Reset | Forgery::Fin);
        assert_eq!(answers.contains(&SYN_ACK), has_syn, "{forgery:?}: {answers:?}");
    }
}
