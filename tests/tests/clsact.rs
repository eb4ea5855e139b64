//! TC as kernels below 6.6 have it: filters of a clsact qdisc. Weir's stay when it goes, are replaced
//! and not doubled when it comes back, and leave nothing behind when it is detached.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use weir_common::{
    abi::time::{SECOND_NS, tick},
    abi::{Action, Control, Mode, Protocol, Reason, Verdict, VerdictClass, verdict::ServiceSet},
};
use weir_lab::{
    actors::visit,
    clock::monotonic_ns,
    net::{Lab, run},
    require_root,
    server::Server,
};
use weir_sensor::{
    daemon::sensor::{Attachment, Hook, Options, Preference, Sensor},
    enforce::dataplane::{Dataplane, ServicePort},
    kernel::{Kernel, Variant},
    system::paths::Paths,
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
const PATIENCE: Duration = Duration::from_secs(5);
const IN_VAIN: Duration = Duration::from_millis(400);

fn paths(lab: &Lab) -> Paths {
    Paths { bpffs: lab.bpffs(), state_dir: lab.state_dir(), run_dir: lab.run_dir() }
}

/// Loads and attaches, and goes: what stays is the kernel's.
fn come_and_go(lab: &Lab) -> Attachment {
    let options = Options { paths: paths(lab), capacities: BTreeMap::new() };
    let attach = || {
        let variant = Variant { clsact: true, ..Variant::default() };
        let mut kernel = Kernel::load(&options, variant).unwrap();
        let enforce = Mode::Enforce as u8;
        let control = Control {
            policy_mode: enforce,
            breaker_mode: enforce,
            stall_ns: 2 * SECOND_NS,
            ..Control::default()
        };
        kernel.set_control(&control).unwrap();
        let port = ServicePort { protocol: Protocol::Tcp, port: 443, service: 1, flags: 0 };
        kernel.set_services(&[port]).unwrap();
        let class = VerdictClass {
            action: Action::Drop as u8,
            mode: enforce,
            reason: Reason::DropOperator as u8,
            services: ServiceSet::ALL,
            ..VerdictClass::default()
        };
        kernel.write_class(1, &class).unwrap();
        let expires_tick = tick(monotonic_ns() + 60 * SECOND_NS);
        let verdict = Verdict { class: 1, expires_tick, ..Verdict::default() };
        kernel.write_verdicts(&[(IpAddr::from(BOT).into(), verdict)]).unwrap();
        kernel.attach("edge0", Preference::Tc).unwrap()
    };
    lab.edge().run(attach).unwrap()
}

fn filters(lab: &Lab, direction: &str) -> String {
    run(lab.edge().command("tc").args(["filter", "show", "dev", "edge0", direction]), "").unwrap()
}

#[test]
fn filters_stay_are_replaced_and_go() {
    require_root!("filters_stay_are_replaced_and_go");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let served = |who: Ipv4Addr, patience| visit(&lab, &server, who.into(), patience).is_ok();

    let first = come_and_go(&lab);
    assert_eq!((first.ingress, first.egress), (Hook::Clsact, Hook::Clsact));
    assert!(!first.taken_over);
    assert!(served(PERSON, PATIENCE));
    assert!(!served(BOT, IN_VAIN), "the filter goes on without its process");

    let second = come_and_go(&lab);
    assert!(second.taken_over);
    for (direction, program) in [("ingress", "weir_ingress_tc"), ("egress", "weir_egress")] {
        let shown = filters(&lab, direction);
        assert!(shown.contains(program), "{direction}: {shown}");
        assert_eq!(shown.matches(" handle ").count(), 1, "{direction}: {shown}");
    }
    assert!(served(PERSON, PATIENCE));
    assert!(!served(BOT, IN_VAIN));

    let removed = lab.edge().run(|| Kernel::detach_all(&paths(&lab)).unwrap()).unwrap();
    assert!(removed.iter().any(|it| it == "edge0 clsact qdisc"), "{removed:?}");
    let qdiscs = run(lab.edge().command("tc").args(["qdisc", "show", "dev", "edge0"]), "").unwrap();
    assert!(!qdiscs.contains("clsact"), "{qdiscs}");
    assert!(!lab.bpffs().join("weir").exists());
    assert!(served(BOT, PATIENCE));
}
