//! TC programs in place on an interface: filters of a clsact qdisc, and TCX.

use std::io;

use nix::sys::socket::SockProtocol;
use serde::{Deserialize, Serialize};

use super::{
    bpf::{self, TcxHook},
    netlink::{DUMP, Netlink, ONE, attributes, text, u32_at},
};

/// `struct tcmsg`
const TCMSG: usize = 20;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`
const PARENT_INGRESS: u32 = 0xffff_fff2;
/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`
const PARENT_EGRESS: u32 = 0xffff_fff3;

// TCA_* and TCA_BPF_* of include/uapi/linux/{rtnetlink,pkt_cls}.h
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_NAME: u16 = 7;
const BPF_ID: u16 = 11;

/// A program in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcProgram {
    /// "ingress" or "egress".
    pub direction: String,
    /// "tcx" or "clsact".
    pub attachment: String,
    /// The program's id.
    pub id: u32,
    /// Its name, if the kernel tells this user.
    pub name: Option<String>,
}

/// Every TC program of an interface, in the order in which they run.
pub fn programs(ifindex: u32) -> io::Result<Vec<TcProgram>> {
    let mut found = Vec::new();
    for (direction, hook, parent) in
        [("ingress", TcxHook::Ingress, PARENT_INGRESS), ("egress", TcxHook::Egress, PARENT_EGRESS)]
    {
        for id in bpf::tcx_programs(ifindex, hook)? {
            found.push(TcProgram {
                direction: direction.into(),
                attachment: "tcx".into(),
                id,
                name: bpf::program_name(id).ok(),
            });
        }
        clsact(ifindex, parent, direction, &mut found)?;
    }
    Ok(found)
}

fn clsact(
    ifindex: u32,
    parent: u32,
    direction: &str,
    found: &mut Vec<TcProgram>,
) -> io::Result<()> {
    let mut body = Vec::with_capacity(TCMSG);
    for word in [0, ifindex, 0, parent, 0] {
        body.extend(u32::to_ne_bytes(word));
    }
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let asked = netlink.request(libc::RTM_GETTFILTER, DUMP, &body, |_, payload| {
        found.extend(parse(payload, direction));
    });
    match asked {
        // No clsact qdisc: nothing can hang there.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => Ok(()),
        other => other,
    }
}

/// Removes an interface's clsact qdisc, and with it every filter that hangs there.
pub fn remove_clsact(ifindex: u32) -> io::Result<()> {
    // Handle ffff: and parent TC_H_CLSACT name the one clsact qdisc that there can be.
    let mut body = Vec::with_capacity(TCMSG);
    for word in [0, ifindex, 0xffff_0000, 0xffff_fff1, 0] {
        body.extend(u32::to_ne_bytes(word));
    }
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    netlink.request(libc::RTM_DELQDISC, ONE, &body, |_, _| {})
}

fn parse(payload: &[u8], direction: &str) -> Option<TcProgram> {
    let mut is_bpf = false;
    let mut id = None;
    let mut name = None;
    for (kind, value) in attributes(payload.get(TCMSG..)?) {
        match kind {
            KIND => is_bpf = text(value) == "bpf",
            OPTIONS => {
                for (kind, value) in attributes(value) {
                    match kind {
                        BPF_NAME => name = Some(text(value)),
                        BPF_ID => id = u32_at(value, 0),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let id = id.filter(|_| is_bpf)?;
    Some(TcProgram { direction: direction.into(), attachment: "clsact".into(), id, name })
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::push_attribute, *};

    #[test]
    fn a_bpf_filter_is_read_and_another_kind_is_not() {
        let filter = |kind: &[u8]| {
            let mut options = Vec::new();
            push_attribute(&mut options, BPF_NAME, b"weir_egress\0");
            push_attribute(&mut options, BPF_ID, &12u32.to_ne_bytes());
            let mut payload = vec![0; TCMSG];
            push_attribute(&mut payload, KIND, kind);
            push_attribute(&mut payload, OPTIONS, &options);
            payload
        };
        let program = parse(&filter(b"bpf\0"), "egress").unwrap();
        assert_eq!((program.id, program.name.as_deref()), (12, Some("weir_egress")));
        assert_eq!(parse(&filter(b"flower\0"), "egress"), None);
    }
}
