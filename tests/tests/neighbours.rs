//! Weir beside others: whatever else is on an interface goes on working, nothing of a stranger's is
//! replaced, and where the best hook cannot be had the next best is taken, and said.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's setup fails loudly")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use weir_lab::{
    actors::{visit, visit_at},
    net::{Family, Lab, Tun, run},
    packet::Ethernet,
    require_root,
    server::Server,
    stranger::{Hook, Purpose, Stranger},
    weir::{Interface, Traces, Weir, demo_policy},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a visitor waits for what it should not get.
const IN_VAIN: Duration = Duration::from_millis(400);

fn interface(weir: &Weir<'_>, name: &str) -> Interface {
    let status = weir.status().unwrap();
    let found = status.interfaces.iter().find(|interface| interface.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in {status:?}")).clone()
}

#[test]
fn a_tc_program_behind_ours_still_has_its_say() {
    require_root!("a_tc_program_behind_ours_still_has_its_say");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let daemon = weir.run_with(&["edge0"], &demo_policy(), &["--mode", "tc"]).unwrap();
    let served = |patience| visit(&lab, &server, PERSON.into(), patience).is_ok();
    assert!(served(PATIENCE));

    // The neighbour drops everything, so one can tell that it is asked; in both directions.
    let neighbour = Stranger::program(Purpose::TcDrop).unwrap();
    for hook in [Hook::TcxIngress, Hook::TcxEgress] {
        let link = neighbour.attach(lab.edge(), "edge0", hook).unwrap();
        let traces = Traces::of(&lab).unwrap();
        assert!(traces.lines.iter().any(|line| line.ends_with("stranger")), "{traces:?}");
        assert!(!served(IN_VAIN), "{hook:?}: the program behind ours was not asked");
        drop(link);
        assert!(served(PATIENCE));
    }

    // The same by the older interface, which comes after all links.
    let pin = lab.bpffs().join("stranger");
    neighbour.pin(&pin).unwrap();
    let tc = |arguments: &[&str]| run(lab.edge().command("tc").args(arguments), "").unwrap();
    tc(&["qdisc", "add", "dev", "edge0", "clsact"]);
    for direction in ["ingress", "egress"] {
        let pinned = ["bpf", "direct-action", "object-pinned", pin.to_str().unwrap()];
        tc(&[&["filter", "add", "dev", "edge0", direction], &pinned[..]].concat());
        assert!(!served(IN_VAIN), "{direction}: the filter behind ours was not asked");
        tc(&["filter", "del", "dev", "edge0", direction]);
        assert!(served(PATIENCE));
    }

    // And a detach takes ours alone.
    let link = neighbour.attach(lab.edge(), "edge0", Hook::TcxEgress).unwrap();
    daemon.terminate().unwrap();
    weir.ask(&["detach"]).unwrap();
    let neighbours = ["edge0 qdisc clsact", "edge0 tcx egress stranger", "pin stranger"];
    Traces { lines: neighbours.map(str::to_owned).to_vec() }.wait(&lab).unwrap();
    drop(link);
}

#[test]
fn a_strangers_xdp_program_is_never_replaced() {
    require_root!("a_strangers_xdp_program_is_never_replaced");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let stranger = Stranger::program(Purpose::XdpPass).unwrap();

    // As a link and as ip(8) does it, with either kind of hook.
    let pin = lab.bpffs().join("stranger");
    stranger.pin(&pin).unwrap();
    for kind in ["link", "xdpdrv", "xdpgeneric"] {
        let link =
            (kind == "link").then(|| stranger.attach(lab.edge(), "edge0", Hook::Xdp).unwrap());
        if link.is_none() {
            let path = pin.display();
            lab.edge().ip(&format!("link set dev edge0 {kind} pinned {path}\n")).unwrap();
        }
        let before = Traces::of(&lab).unwrap();
        assert!(before.any("edge0 xdp "), "{before:?}");
        for mode in ["auto", "xdp", "xdp-generic"] {
            let policy = demo_policy();
            let policy = policy.to_str().unwrap();
            let refusal =
                weir.refusal(&["run", "-i", "edge0", "-p", policy, "--mode", mode]).unwrap();
            let words = ["edge0", "XDP program that is not Weir's", "xdp off", "--mode tc"];
            refusal.mentions(&words).unwrap();
            before.wait(&lab).unwrap();
        }

        // Beside it there is room.
        let daemon = weir.run_with(&["edge0"], &demo_policy(), &["--mode", "tc"]).unwrap();
        let placed = interface(&weir, "edge0");
        assert_eq!((placed.ingress.as_str(), placed.egress.as_str()), ("tcx", "tcx"));
        weir.ask(&["block", &BOT.to_string(), "--reason", "x"]).unwrap();
        assert!(visit(&lab, &server, BOT.into(), IN_VAIN).is_err(), "{kind}");
        visit(&lab, &server, PERSON.into(), PATIENCE).unwrap();
        daemon.terminate().unwrap();
        weir.ask(&["detach"]).unwrap();
        before.wait(&lab).unwrap();
        drop(link);
        lab.edge()
            .ip(&format!("link set dev edge0 {} off\n", kind.replace("link", "xdp")))
            .unwrap();
    }
}

#[test]
fn every_way_in_holds_a_bot_back_and_says_which_it_is() {
    require_root!("every_way_in_holds_a_bot_back_and_says_which_it_is");
    for (mode, hook, why) in [
        ("auto", "xdp-native", "the driver runs XDP itself"),
        ("xdp", "xdp-native", "the driver runs XDP itself"),
        ("xdp-generic", "xdp-generic", "asked for"),
        ("tc", "tcx", "asked for"),
    ] {
        let lab = Lab::builder().offloads().build().unwrap();
        let server = Server::start(&lab).unwrap();
        let weir = Weir::in_lab(&lab).unwrap();
        let _daemon = weir.run_with(&["edge0"], &demo_policy(), &["--mode", mode]).unwrap();
        let placed = interface(&weir, "edge0");
        assert_eq!(placed.ingress, hook, "--mode {mode}");
        assert!(placed.why.contains(why), "--mode {mode}: {}", placed.why);
        for family in [Family::V4, Family::V6] {
            let address = |number| match family {
                Family::V4 => lab.link().client_v4(number).into(),
                Family::V6 => lab.link().client_v6(number.into()).into(),
            };
            let bot: std::net::IpAddr = address(66);
            visit(&lab, &server, bot, PATIENCE).unwrap();
            weir.ask(&["block", &bot.to_string(), "--reason", "x"]).unwrap();
            assert!(visit(&lab, &server, bot, IN_VAIN).is_err(), "--mode {mode}, {family:?}");
            visit(&lab, &server, address(11), PATIENCE).unwrap();
        }
        let status = weir.status().unwrap();
        assert!(status.packets("drop_operator") > 0, "--mode {mode}");
        assert_eq!(status.proofs(), 4, "--mode {mode}: visits that were proven");
    }
}

#[test]
fn where_the_driver_refuses_native_xdp_generic_is_taken_and_said() {
    require_root!("where_the_driver_refuses_native_xdp_generic_is_taken_and_said");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    // A bridge has no native XDP.
    lab.edge().ip("link add bridge0 type bridge\nlink set bridge0 up\n").unwrap();
    let before = Traces::of(&lab).unwrap();
    let policy = demo_policy();
    let policy = policy.to_str().unwrap();
    let refusal = weir.refusal(&["run", "-i", "bridge0", "-p", policy, "--mode", "xdp"]).unwrap();
    refusal.mentions(&["bridge0", "native XDP", "--mode auto"]).unwrap();
    before.wait(&lab).unwrap();
    let daemon = weir.run(&["bridge0"], &demo_policy()).unwrap();
    let placed = interface(&weir, "bridge0");
    assert_eq!(placed.ingress, "xdp-generic");
    assert!(placed.why.contains("refused native XDP"), "{}", placed.why);
    assert!(daemon.log().contains("refused native XDP"), "{}", daemon.log());
}

#[test]
fn a_tunnel_without_a_link_layer_is_parsed_and_guarded() {
    require_root!("a_tunnel_without_a_link_layer_is_parsed_and_guarded");
    for mode in ["auto", "xdp-generic", "tc"] {
        let lab = Lab::new().unwrap();
        let weir = Weir::in_lab(&lab).unwrap();
        let tunnel = Tun::create(lab.edge(), "tun0").unwrap();
        lab.edge()
            .ip(&format!(
                "address add 192.0.2.10/24 dev tun0\nlink set tun0 up\nroute add {BOT} dev tun0\n\
                 route add {PERSON} dev tun0\n"
            ))
            .unwrap();
        let shop = SocketAddr::from(([192, 0, 2, 10], 443));
        let _listener = lab.edge().run(|| std::net::TcpListener::bind(shop)).unwrap().unwrap();
        let _daemon = weir.run_with(&["tun0"], &demo_policy(), &["--mode", mode]).unwrap();

        // A SYN from the tunnel's far end is seen for what it is, and answered.
        let mut port = 5000;
        let mut is_answered = |from: Ipv4Addr, patience| {
            port += 1;
            let syn = Ethernet::absent().ipv4(from.octets(), [192, 0, 2, 10]).tcp(port, 443);
            tunnel.send(&syn.syn().seq(1).linux_options().build()).unwrap();
            // Version 4, protocol TCP, to that port.
            let to = port.to_be_bytes();
            let answer = tunnel.expect(patience, |packet| {
                packet.first() == Some(&0x45)
                    && packet.get(9) == Some(&6)
                    && packet.get(22..24) == Some(&to)
            });
            answer.unwrap().is_some()
        };
        assert!(is_answered(BOT, PATIENCE), "--mode {mode}");
        let status = weir.status().unwrap();
        assert_eq!(status.packets("syn_seen"), 1, "--mode {mode}: {:?}", status.counters);
        assert_eq!(status.packets("syn_ack_seen"), 1, "--mode {mode}: {:?}", status.counters);

        // A verdict holds there, too.
        weir.ask(&["block", &BOT.to_string(), "--reason", "x"]).unwrap();
        assert!(!is_answered(BOT, IN_VAIN), "--mode {mode}");
        assert!(is_answered(PERSON, PATIENCE), "--mode {mode}");
        assert!(weir.status().unwrap().packets("drop_operator") > 0, "--mode {mode}");
        println!("tun0, --mode {mode}: {}", interface(&weir, "tun0").ingress);
    }
}

#[test]
fn a_second_interface_is_guarded_by_the_same_verdicts() {
    require_root!("a_second_interface_is_guarded_by_the_same_verdicts");
    let lab = Lab::builder().second_interface().build().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let daemon = weir.run(&["edge0", "edge1"], &demo_policy()).unwrap();
    let [first, second] = lab.links() else { panic!("two links") };
    let at_second = |host: u8, patience| {
        let from = second.client_v4(128 + host).into();
        visit_at(&lab, &server, from, second.shop(Family::V4), patience)
    };
    visit(&lab, &server, first.client_v4(66).into(), PATIENCE).unwrap();
    at_second(66, PATIENCE).unwrap();
    weir.ask(&["block", "203.0.113.66", "192.0.2.194", "--reason", "x"]).unwrap();
    assert!(visit(&lab, &server, first.client_v4(66).into(), IN_VAIN).is_err());
    assert!(at_second(66, IN_VAIN).is_err());
    at_second(11, PATIENCE).unwrap();

    // A tap on a device that goes away is no obstacle for the next start.
    daemon.kill().unwrap();
    lab.edge().ip("link del edge1\n").unwrap();
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    assert!(visit(&lab, &server, first.client_v4(66).into(), IN_VAIN).is_err());
    daemon.terminate().unwrap();
    weir.ask(&["detach"]).unwrap();
    Traces::default().wait(&lab).unwrap();
}
