//! One interface: driver, link type, MTU, offloads, queues, programs in place, and what Weir would
//! attach.

use super::finding::{Finding, Findings};
use crate::system::{
    bpf,
    interface::{Interface, InterfaceError, XdpAttachment},
    kernel_version::{KernelVersion, TCX},
    netns,
    paths::Paths,
    traffic_control::{self, TcProgram},
    xdp_features::{self, XdpFeatures},
};

/// Largest MTU that fits one 4 KiB page with XDP's headroom (256 bytes), the packet buffer's tail
/// (`struct skb_shared_info`, 320 bytes) and an Ethernet header with two VLAN tags (22 bytes).
const ONE_PAGE_MTU: u32 = 4096 - 256 - 320 - 22;

/// Looks at an interface.
pub(super) fn examine(interface: &Interface, paths: &Paths) -> Vec<Finding> {
    let mut findings = Findings::about(&interface.name);
    link(&mut findings, interface);
    let features = xdp_features::of(interface.index).ok().flatten();
    mtu(&mut findings, interface, features);
    offloads(&mut findings, interface);
    queues(&mut findings, interface);
    let xdp_is_foreign = xdp_in_place(&mut findings, interface, paths);
    tc_in_place(&mut findings, interface);
    would_attach(&mut findings, interface, features, xdp_is_foreign);
    findings.into_list()
}

/// An interface that is not there.
pub(super) fn missing(name: &str, error: &InterfaceError) -> Vec<Finding> {
    let mut findings = Findings::about(name);
    findings.fail("link", error.to_string(), "name one of those");
    findings.into_list()
}

fn link(findings: &mut Findings, interface: &Interface) {
    const CHECK: &str = "link";
    let driver = interface.driver.as_deref().or(interface.kind.as_deref()).unwrap_or("no driver");
    let shape = match interface.link_type {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => "Ethernet".to_owned(),
        // ARPHRD_NONE and ARPHRD_RAWIP: tunnels.
        libc::ARPHRD_NONE | 519 => "no link-layer header".to_owned(),
        other => {
            findings.fail(
                CHECK,
                format!("{driver}, link type {other}, which Weir cannot parse"),
                "attach to an Ethernet interface or to a tunnel",
            );
            return;
        }
    };
    if interface.up {
        findings.ok(CHECK, format!("{driver}, {shape}, up"));
    } else {
        findings.warn(
            CHECK,
            format!("{driver}, {shape}, down"),
            format!("ip link set {} up", interface.name),
        );
    }
}

fn mtu(findings: &mut Findings, interface: &Interface, features: Option<XdpFeatures>) {
    const CHECK: &str = "MTU";
    let fits = interface.mtu <= ONE_PAGE_MTU;
    match features {
        Some(XdpFeatures { native: true, fragments: false }) if !fits => findings.warn(
            CHECK,
            format!("{} is more than one buffer holds, and the driver gives only one", interface.mtu),
            format!(
                "native XDP will be refused: ip link set {} mtu {ONE_PAGE_MTU}, or accept generic XDP",
                interface.name
            ),
        ),
        None if !fits => findings.warn(
            CHECK,
            format!("{} is more than one buffer holds", interface.mtu),
            format!(
                "some drivers refuse native XDP then; if this one does: ip link set {} mtu \
                 {ONE_PAGE_MTU}",
                interface.name
            ),
        ),
        _ => findings.ok(CHECK, interface.mtu.to_string()),
    }
}

fn offloads(findings: &mut Findings, interface: &Interface) {
    const CHECK: &str = "LRO";
    match interface.lro {
        Some(true) => findings.warn(
            CHECK,
            "on: packets are merged before Weir sees them, and most drivers refuse native XDP",
            format!("ethtool -K {} lro off", interface.name),
        ),
        Some(false) => findings.ok(CHECK, "off"),
        None => findings.ok(CHECK, "none"),
    }
}

fn queues(findings: &mut Findings, interface: &Interface) {
    const CHECK: &str = "queues";
    let Some(channels) = interface.channels else {
        findings.ok(CHECK, format!("{} receive", interface.receive_queues));
        return;
    };
    let found = format!("{} of {} in use", channels.current, channels.maximum);
    let spare = channels.maximum.saturating_sub(channels.current);
    match interface.driver.as_deref() {
        // drivers/net/ethernet/amazon/ena: XDP needs a transmit queue of its own for every channel.
        Some("ena" | "gve") if channels.current > channels.maximum / 2 => findings.warn(
            CHECK,
            format!("{found}: the driver wants half of them free for native XDP"),
            format!(
                "ethtool -L {} combined {}",
                interface.name,
                (channels.maximum / 2).max(1)
            ),
        ),
        // drivers/net/virtio_net.c: without a spare queue for every CPU, replies share a lock.
        Some("virtio_net") if spare == 0 => findings.warn(
            CHECK,
            format!("{found}: none spare, so `reject` replies take a slower path"),
            "give the virtual machine more queue pairs than it has CPUs, or ignore this if no policy \
             rejects",
        ),
        _ => findings.ok(CHECK, found),
    }
}

/// Whether somebody else's XDP program is there.
fn xdp_in_place(findings: &mut Findings, interface: &Interface, paths: &Paths) -> bool {
    const CHECK: &str = "XDP in place";
    let Some(xdp) = interface.xdp else {
        findings.ok(CHECK, "none");
        return false;
    };
    let how = match xdp.attachment {
        XdpAttachment::Native => "native",
        XdpAttachment::Generic => "generic",
        XdpAttachment::Offloaded => "offloaded",
        XdpAttachment::Several => "several",
    };
    let name = bpf::program_name(xdp.program_id);
    let shown = match &name {
        Ok(name) => format!("{name} (id {}, {how})", xdp.program_id),
        Err(_) => format!("id {} ({how}; run as root for its name)", xdp.program_id),
    };
    if is_ours(interface, paths) {
        findings.ok(CHECK, format!("Weir's {shown}"));
        return false;
    }
    findings.fail(
        CHECK,
        format!("somebody else's: {shown}"),
        format!(
            "Weir never replaces it: stop whoever loaded it (`bpftool net`), take it off with `ip \
             link set {0} xdp off`, or run Weir with --mode tc",
            interface.name
        ),
    );
    true
}

/// Weir pins its link under the namespace and index of the interface; nobody else does.
fn is_ours(interface: &Interface, paths: &Paths) -> bool {
    let Ok(namespace) = netns::inode() else {
        return false;
    };
    let begins = format!("{namespace}-{}-xdp", interface.index);
    std::fs::read_dir(paths.links()).is_ok_and(|mut pins| {
        pins.any(|pin| pin.is_ok_and(|pin| pin.file_name().to_string_lossy().starts_with(&begins)))
    })
}

fn tc_in_place(findings: &mut Findings, interface: &Interface) {
    const CHECK: &str = "TC in place";
    match traffic_control::programs(interface.index) {
        Ok(programs) if programs.is_empty() => findings.ok(CHECK, "none"),
        Ok(programs) => {
            let shown: Vec<String> = programs
                .iter()
                .map(|program| {
                    let name = program.name.as_deref().unwrap_or("?");
                    let whose = if name.starts_with("weir_") { "Weir's " } else { "" };
                    let TcProgram { id, attachment, direction, .. } = program;
                    format!("{whose}{name} (id {id}, {attachment} {direction})")
                })
                .collect();
            // Weir passes packets on (TCX_NEXT), so neither side is in the other's way.
            findings.ok(CHECK, shown.join(", "));
        }
        Err(error) => {
            findings.warn(CHECK, format!("cannot be listed: {error}"), "run this as root");
        }
    }
}

fn would_attach(
    findings: &mut Findings,
    interface: &Interface,
    features: Option<XdpFeatures>,
    xdp_is_foreign: bool,
) {
    const CHECK: &str = "would attach";
    let egress = match KernelVersion::running() {
        Some(version) if version.at_least(TCX) => "tcx",
        _ => "clsact",
    };
    if xdp_is_foreign {
        return;
    }
    match features {
        Some(XdpFeatures { native: true, .. }) => {
            findings.ok(CHECK, format!("native XDP in, {egress} out"));
        }
        Some(XdpFeatures { native: false, .. }) => findings.warn(
            CHECK,
            format!("generic XDP in, {egress} out: the driver has no native XDP"),
            if interface
                .kind
                .as_deref()
                .is_some_and(|kind| matches!(kind, "bond" | "bridge" | "vlan"))
            {
                "attach to the physical interfaces below it instead"
            } else {
                "expect several times the cost a packet"
            },
        ),
        None => findings.ok(
            CHECK,
            format!(
                "native XDP in if the driver has it, else generic, else {egress}; {egress} out"
            ),
        ),
    }
}
