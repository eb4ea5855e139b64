//! A verdict does what it says, to whom it says, for as long as it says, and to nobody else.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_lab::{
    actors::{Session, visit, visit_at},
    clock::{sleep, wait_until},
    net::{Family, Lab, sockets},
    packet::{TcpFlags, tcp},
    require_root,
    server::Server,
    stranger::{Hook, Purpose, Stranger},
    weir::{Daemon, Weir, demo_policy},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

/// How long a visitor waits for what it should get.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a visitor waits for what it should not get.
const IN_VAIN: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);

/// Each way in.
const MODES: [&str; 3] = ["xdp", "xdp-generic", "tc"];

/// A lab with Weir on its edge. A macro, because the daemon borrows the lab.
macro_rules! scene {
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        scene!($lab, $server, $weir, $daemon, "auto");
    };
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident, $mode:expr) => {
        let $lab = Lab::new().unwrap();
        let $server = Server::start(&$lab).unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let $daemon: Daemon<'_> =
            $weir.run_with(&["edge0"], &demo_policy(), &["--mode", $mode]).unwrap();
    };
}

/// Sets a verdict on the bot.
fn block(weir: &Weir<'_>, options: &[&str]) -> String {
    let bot = BOT.to_string();
    weir.ask(&[&["block", &bot, "--reason", "a test"], options].concat()).unwrap()
}

/// Connections that the server's kernel holds open for an address.
fn open(lab: &Lab, address: impl Into<IpAddr>) -> usize {
    let address = address.into();
    let sockets = sockets(lab.edge()).unwrap();
    sockets.iter().filter(|socket| socket.is_open() && socket.remote.ip() == address).count()
}

#[test]
fn a_drop_ends_what_was_open_at_the_server() {
    require_root!("a_drop_ends_what_was_open_at_the_server");
    scene!(lab, server, weir, _daemon);
    let shop = lab.link().shop(Family::V4);
    // A bot and a person each keep connections open, and say nothing.
    let mut kept: Vec<Session> = Vec::new();
    for address in [BOT, BOT, BOT, PERSON] {
        let mut session = Session::open(&lab, &server, address.into(), shop, PATIENCE).unwrap();
        session.ask().unwrap();
        kept.push(session);
    }
    assert_eq!((open(&lab, BOT), open(&lab, PERSON)), (3, 1));
    // Delayed acknowledgements are out by then; after the verdict, one would end its connection
    // before the daemon does.
    sleep(Duration::from_millis(100));

    let began = Instant::now();
    let said = block(&weir, &[]);
    wait_until("the bot's connections are gone", SECOND, || Ok(open(&lab, BOT) == 0)).unwrap();
    println!("3 idle connections gone {} ms after the command began", began.elapsed().as_millis());
    assert!(said.contains("3 open connections ended"), "{said}");
    wait_until("the application noticed", SECOND, || Ok(server.visitor(BOT.into()).open == 0))
        .unwrap();

    // The person's is as it was; the bot is not let in again, over any connection.
    kept.pop().unwrap().ask().unwrap();
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err());
    for mut session in kept {
        assert!(session.ask().is_err());
    }
}

#[test]
fn where_sockets_cannot_be_ended_the_next_segment_ends_the_connection() {
    require_root!("where_sockets_cannot_be_ended_the_next_segment_ends_the_connection");
    for mode in MODES {
        scene!(lab, server, weir, daemon, mode);
        let shop = lab.link().shop(Family::V4);
        let mut session = Session::open(&lab, &server, BOT.into(), shop, PATIENCE).unwrap();
        session.ask().unwrap();

        // A verdict comes into the kernel with nobody there who could end sockets: the kill switch
        // lets the connection through, the verdict waits behind it, and the daemon is dead when the
        // switch is turned off.
        weir.ask(&["kill", "on"]).unwrap();
        block(&weir, &["--for", "1h"]);
        daemon.kill().unwrap();
        assert_eq!(open(&lab, BOT), 1, "{mode}: with the kill switch on nothing is ended");
        weir.ask(&["kill", "off"]).unwrap();

        // The client's next segment becomes a reset for the server.
        assert!(session.ask().is_err(), "{mode}: a blocked source was answered");
        wait_until("the server's socket is gone", SECOND, || Ok(open(&lab, BOT) == 0)).unwrap();
        let _daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
        assert!(weir.status().unwrap().packets("reset_to_server") > 0, "{mode}");
    }
}

#[test]
fn a_reject_tells_the_client_at_once() {
    require_root!("a_reject_tells_the_client_at_once");
    for mode in MODES {
        scene!(lab, server, weir, _daemon, mode);
        // A veth interface wakes up for what its peer's XDP sends back only if it runs XDP itself
        // (`veth_xdp_flush`, drivers/net/veth.c); network cards need nothing of the kind.
        let pass = Stranger::program(Purpose::XdpPass).unwrap();
        let _link = pass.attach(lab.clients(), lab.link().clients_interface, Hook::Xdp).unwrap();
        visit(&lab, &server, BOT.into(), PATIENCE).unwrap();
        block(&weir, &["--action", "reject"]);
        let began = Instant::now();
        let error = visit(&lab, &server, BOT.into(), PATIENCE).unwrap_err();
        let took = began.elapsed();
        assert!(format!("{error:#}").contains("refused"), "{mode}: {error:#}");
        assert!(took < Duration::from_millis(300), "{mode}: {took:?}");
        assert!(weir.status().unwrap().packets("reject_reset") > 0, "{mode}");
    }
    // A drop, for comparison, leaves it waiting.
    scene!(lab, server, weir, _daemon);
    block(&weir, &[]);
    let error = visit(&lab, &server, BOT.into(), IN_VAIN).unwrap_err();
    assert!(format!("{error:#}").contains("did not answer"), "{error:#}");
}

#[test]
fn a_limit_lets_its_rate_through_and_never_touches_what_is_open() {
    require_root!("a_limit_lets_its_rate_through_and_never_touches_what_is_open");
    scene!(lab, server, weir, _daemon);
    let shop = lab.link().shop(Family::V4);
    let mut session = Session::open(&lab, &server, BOT.into(), shop, PATIENCE).unwrap();
    block(&weir, &["--action", "limit", "--rate", "5"]);

    // A hundred SYNs a second for three seconds, all in the bot's name.
    let wire = lab.wire().unwrap();
    let before = weir.status().unwrap();
    let (began, mut sent) = (Instant::now(), 0u16);
    while began.elapsed() < 3 * SECOND {
        sent += 1;
        let from = SocketAddr::from((BOT, 2000 + sent));
        wire.send(&tcp(from, shop).syn().seq(1).linux_options().build()).unwrap();
        session.ask().unwrap();
        sleep(Duration::from_millis(8));
    }
    let after = weir.status().unwrap();
    let passed = after.packets("syn_seen") - before.packets("syn_seen");
    let held = after.packets("limit_verdict") - before.packets("limit_verdict");
    println!("5/s: {passed} of {sent} new connections in 3 s, {held} held back");
    assert_eq!(passed + held, u64::from(sent));
    // A burst of a second's worth, and five more for each second.
    assert!((15..=21).contains(&passed), "{passed}");

    // Others are not concerned.
    visit(&lab, &server, PERSON.into(), PATIENCE).unwrap();
}

#[test]
fn an_allow_beats_a_drop_whichever_came_first() {
    require_root!("an_allow_beats_a_drop_whichever_came_first");
    scene!(lab, server, weir, _daemon);
    let (range, bot) = ("203.0.113.0/24", BOT.to_string());
    let allow = ["block", &bot, "--action", "allow", "--reason", "contract 12"];
    let drop = ["block", range, "--reason", "a bad range"];
    let served = |address: Ipv4Addr, patience| visit(&lab, &server, address.into(), patience);
    for order in [[allow.as_slice(), &drop], [&drop, &allow]] {
        for verdict in order {
            weir.ask(verdict).unwrap();
        }
        served(BOT, PATIENCE).unwrap();
        served(PERSON, IN_VAIN).unwrap_err();
        // The allow goes, and what it held back comes forward.
        weir.ask(&["unblock", &bot]).unwrap();
        served(BOT, IN_VAIN).unwrap_err();
        weir.ask(&["unblock", range]).unwrap();
        served(PERSON, PATIENCE).unwrap();
        served(BOT, PATIENCE).unwrap();
    }
}

#[test]
fn observe_counts_what_it_would_have_done_and_does_nothing() {
    require_root!("observe_counts_what_it_would_have_done_and_does_nothing");
    scene!(lab, server, weir, _daemon);
    block(&weir, &["--observe"]);
    visit(&lab, &server, BOT.into(), PATIENCE).unwrap();
    let status = weir.status().unwrap();
    assert!(status.packets("would") > 0);
    assert_eq!(status.packets("drop_operator"), 0);
    let verdicts = weir.verdicts().unwrap();
    let verdict = verdicts.of(BOT.into()).next().unwrap();
    assert_eq!((verdict.mode.as_str(), verdict.hits > 0), ("observe", true));

    // The same for everything, by the policy's ceiling.
    let text = fs::read_to_string(demo_policy()).unwrap();
    let policy = weir.policy(&text.replace("sensor:\n", "sensor:\n  mode: observe\n")).unwrap();
    scene!(other, other_server, other_weir, daemon);
    daemon.terminate().unwrap();
    let _daemon = other_weir.run(&["edge0"], &policy).unwrap();
    let said = block(&other_weir, &[]);
    assert!(said.contains("note: the policy's mode is observe"), "{said}");
    visit(&other, &other_server, BOT.into(), PATIENCE).unwrap();
    assert!(other_weir.status().unwrap().packets("would") > 0);
}

#[test]
fn a_verdict_ends_when_its_term_does() {
    require_root!("a_verdict_ends_when_its_term_does");
    scene!(lab, server, weir, _daemon);
    block(&weir, &["--for", "2s"]);
    let began = Instant::now();
    assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err());
    // A client's own retransmissions make a visit last, so each one is short.
    let short = Duration::from_millis(150);
    wait_until("the bot is served again", PATIENCE, || {
        Ok(visit(&lab, &server, BOT.into(), short).is_ok())
    })
    .unwrap();
    let lasted = began.elapsed();
    assert!(
        lasted > Duration::from_millis(1700) && lasted < Duration::from_millis(2700),
        "{lasted:?}"
    );
    wait_until("it is no longer listed", PATIENCE, || {
        Ok(weir.verdicts()?.of(BOT.into()).count() == 0)
    })
    .unwrap();
}

#[test]
fn a_block_for_one_service_leaves_the_others_alone() {
    require_root!("a_block_for_one_service_leaves_the_others_alone");
    scene!(lab, server, weir, _daemon);
    let (shop, api) = (lab.link().shop(Family::V4), lab.link().api(Family::V4));
    let mut at_api = Session::open(&lab, &server, BOT.into(), api, PATIENCE).unwrap();
    let _at_shop = Session::open(&lab, &server, BOT.into(), shop, PATIENCE).unwrap();
    assert_eq!(open(&lab, BOT), 2);
    block(&weir, &["--service", "shop"]);
    wait_until("the connection to the shop ended", SECOND, || Ok(open(&lab, BOT) == 1)).unwrap();
    at_api.ask().unwrap();
    visit_at(&lab, &server, BOT.into(), api, PATIENCE).unwrap();
    visit_at(&lab, &server, BOT.into(), shop, IN_VAIN).unwrap_err();
    assert_eq!(weir.verdicts().unwrap().of(BOT.into()).next().unwrap().services, ["shop"]);
}

#[test]
fn an_ipv6_block_covers_the_64_and_nothing_beside_it() {
    require_root!("an_ipv6_block_covers_the_64_and_nothing_beside_it");
    scene!(lab, server, weir, _daemon);
    let link = lab.link();
    let neighbour =
        |last: u128| IpAddr::from(u128::from(link.client_v6(7)).wrapping_add(last).to_be_bytes());
    weir.ask(&["block", "2001:db8:113:7::/64", "--reason", "a network"]).unwrap();
    for inside in [neighbour(0), neighbour(41), neighbour(0xffff_ffff)] {
        assert!(visit(&lab, &server, inside, IN_VAIN).is_err(), "{inside}");
    }
    for beside in [link.client_v6(6), link.client_v6(8)] {
        visit(&lab, &server, beside.into(), PATIENCE).unwrap();
    }
    // A single address is just that.
    let one = neighbour(41);
    weir.ask(&["unblock", "--all"]).unwrap();
    weir.ask(&["block", &one.to_string(), "--reason", "one host"]).unwrap();
    assert!(visit(&lab, &server, one, IN_VAIN).is_err());
    visit(&lab, &server, neighbour(42), PATIENCE).unwrap();
}

#[test]
fn what_this_host_opened_is_not_cut() {
    require_root!("what_this_host_opened_is_not_cut");
    for mode in MODES {
        scene!(lab, server, weir, _daemon, mode);
        drop(server);
        let far = SocketAddr::from((BOT, 4711));
        let listener = lab.clients().run(|| TcpListener::bind(far)).unwrap().unwrap();
        let dial = || {
            let stream = lab.edge().run(|| TcpStream::connect_timeout(&far, SECOND));
            let stream = stream.unwrap().unwrap();
            stream.set_read_timeout(Some(SECOND)).unwrap();
            stream
        };
        // The host has a connection to somewhere that is then blocked.
        let mut near = dial();
        let (mut client, _) = listener.accept().unwrap();
        block(&weir, &[]);
        // And opens another one there afterwards.
        let mut again = dial();
        let (mut other, _) = listener.accept().unwrap();
        for (far_end, near_end) in [(&mut client, &mut near), (&mut other, &mut again)] {
            far_end.write_all(b"news").unwrap();
            let mut heard = [0; 4];
            near_end.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"news", "{mode}");
        }
        assert!(weir.status().unwrap().packets("pass_own_flow") > 0, "{mode}");
        // What comes from there uninvited stays out.
        let wire = lab.wire().unwrap();
        let closed = SocketAddr::from((lab.link().server_v4, 9));
        wire.send(&tcp(far, closed).syn().build()).unwrap();
        let heard = wire.expect_tcp(IN_VAIN, |s| s.to == far && s.flags.contains(TcpFlags::RST));
        assert_eq!(heard.unwrap(), None, "{mode}");
    }
}

#[test]
fn a_daemon_that_hangs_stops_enforcement_only_where_the_policy_says_so() {
    require_root!("a_daemon_that_hangs_stops_enforcement_only_where_the_policy_says_so");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let text = fs::read_to_string(demo_policy()).unwrap();
    let policy = weir.policy(&text.replace("sensor:\n", "sensor:\n  heartbeat: 3s\n")).unwrap();
    let daemon = weir.run(&["edge0"], &policy).unwrap();
    block(&weir, &[]);
    let short = Duration::from_millis(150);
    let served = || visit(&lab, &server, BOT.into(), short).is_ok();
    assert!(!served());
    daemon.signal(Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    wait_until("enforcement stops", 2 * PATIENCE, || Ok(served())).unwrap();
    assert!(began.elapsed() > Duration::from_millis(1800), "{:?}", began.elapsed());
    daemon.signal(Signal::SIGCONT).unwrap();
    wait_until("enforcement goes on", PATIENCE, || Ok(!served())).unwrap();
    assert!(weir.status().unwrap().packets("heartbeat_lost") > 0);
}
