//! A lab: the edge and the clients, joined, with private directories for a Weir of its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use super::{
    LabId, Namespace, Wire, clean,
    command::run,
    directory::Directory,
    plan::{CLIENTS_MAC, EDGE_MAC, FAR_CLIENTS, LINKS, LinkPlan},
};
use crate::{clock::wait_until, packet::Mac};

/// How long a new interface may take to be up.
const CARRIER: Duration = Duration::from_secs(5);

/// How a lab is to be.
#[derive(Clone, Debug)]
pub struct LabBuilder {
    links: usize,
    far: bool,
    offloads: bool,
    sysctls: Vec<(String, String)>,
}

impl LabBuilder {
    /// A second veth pair, `edge1`, with addresses of its own.
    #[must_use]
    pub fn second_interface(mut self) -> Self {
        self.links = 2;
        self
    }

    /// Clients of the second link's IPv4 range come through the first link as well, for stories that
    /// need people of more than one network.
    #[must_use]
    pub fn far_clients(mut self) -> Self {
        self.far = true;
        self
    }

    /// Segmentation, receive and checksum offload as the kernel has them by default. Without this
    /// they are off, so that what is sent is what crosses the wire, checksums included.
    #[must_use]
    pub fn offloads(mut self) -> Self {
        self.offloads = true;
        self
    }

    /// Sets a variable of the edge, such as `net/ipv4/tcp_syncookies`.
    #[must_use]
    pub fn sysctl(mut self, variable: &str, value: impl ToString) -> Self {
        self.sysctls.push((variable.to_owned(), value.to_string()));
        self
    }

    /// Removes what crashed labs left behind and makes the lab.
    pub fn build(self) -> Result<Lab> {
        clean()?;
        let id = LabId::fresh()?;
        let directory = Directory::create(id)?;
        let edge = Namespace::create(&id.namespace("edge"))?;
        let clients = Namespace::create(&id.namespace("clients"))?;
        let links: Vec<&'static LinkPlan> = LINKS.iter().take(self.links).collect();
        let lab = Lab { id, links, edge, clients, directory };
        lab.configure(&self)?;
        Ok(lab)
    }
}

/// Two namespaces: the *edge*, where the server and Weir run, and the *clients*, where everyone
/// else lives. The clients' side answers for every address of its ranges, and the edge sends
/// whatever it has for any other address there too.
#[derive(Debug)]
pub struct Lab {
    id: LabId,
    links: Vec<&'static LinkPlan>,
    edge: Namespace,
    clients: Namespace,
    directory: Directory,
}

impl Lab {
    /// A lab with one interface, offloads off.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A lab that differs.
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder { links: 1, far: false, offloads: false, sysctls: Vec::new() }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> LabId {
        self.id
    }

    /// Where the server and Weir run.
    #[must_use]
    pub fn edge(&self) -> &Namespace {
        &self.edge
    }

    /// Where everyone else lives.
    #[must_use]
    pub fn clients(&self) -> &Namespace {
        &self.clients
    }

    /// The first link.
    #[must_use]
    pub fn link(&self) -> &'static LinkPlan {
        let [first, _] = &LINKS;
        first
    }

    /// All links.
    #[must_use]
    pub fn links(&self) -> &[&'static LinkPlan] {
        &self.links
    }

    /// A directory for logs and captures. It goes with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A bpffs of this lab alone.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.directory.path().join("bpf")
    }

    /// A state directory of this lab alone.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A run directory of this lab alone.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// A packet socket on the clients' side of the first link: sends anything in anyone's name.
    pub fn wire(&self) -> Result<Wire> {
        Wire::open(&self.clients, self.link().clients_interface)
    }

    fn configure(&self, builder: &LabBuilder) -> Result<()> {
        for namespace in [&self.edge, &self.clients] {
            for (variable, value) in QUIET {
                namespace.sysctl(variable, value)?;
            }
        }
        // Addresses of the IPv6 ranges are local by route only, which bind() wants to be told.
        self.clients.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        for link in &self.links {
            self.edge.ip(&format!(
                "link add {} address {} type veth peer name {} address {} netns {}\n",
                link.edge_interface,
                mac(EDGE_MAC),
                link.clients_interface,
                mac(CLIENTS_MAC),
                self.clients.name(),
            ))?;
        }
        for (position, link) in self.links.iter().enumerate() {
            self.clients.ip(&clients_side(link))?;
            self.edge.ip(&edge_side(link, position == 0))?;
            if !builder.offloads {
                switch_offloads_off(&self.edge, link.edge_interface, "off")?;
                switch_offloads_off(&self.clients, link.clients_interface, "on")?;
            }
        }
        if builder.far {
            let (base, length) = FAR_CLIENTS;
            self.clients.ip(&format!("route replace local {base}/{length} dev lo\n"))?;
        }
        for link in &self.links {
            wait_for_carrier(&self.edge, link.edge_interface)?;
            wait_for_carrier(&self.clients, link.clients_interface)?;
        }
        for (variable, value) in &builder.sysctls {
            self.edge.sysctl(variable, value)?;
        }
        Ok(())
    }
}

/// No reverse-path filter, no duplicate-address detection, no router solicitations: nothing that
/// delays an address or talks of its own accord.
const QUIET: [(&str, &str); 7] = [
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
];

fn edge_side(link: &LinkPlan, is_default: bool) -> String {
    let LinkPlan { edge_interface: device, gateway_v4, gateway_v6, .. } = link;
    let (range_v4, range_v6) = if is_default {
        ("default".to_owned(), "default".to_owned())
    } else {
        (range(link.clients_v4), range(link.clients_v6))
    };
    format!(
        "link set {device} up\n\
         address add {}/{} dev {device}\n\
         address add {}/64 dev {device} nodad\n\
         neighbour replace {gateway_v4} lladdr {mac} dev {device} nud permanent\n\
         neighbour replace {gateway_v6} lladdr {mac} dev {device} nud permanent\n\
         route add {range_v4} via {gateway_v4} dev {device}\n\
         route add {range_v6} via {gateway_v6} dev {device}\n",
        link.server_v4,
        link.link_prefix_v4,
        link.server_v6,
        mac = mac(CLIENTS_MAC),
    )
}

fn clients_side(link: &LinkPlan) -> String {
    let LinkPlan { clients_interface: device, server_v4, server_v6, .. } = link;
    format!(
        "link set {device} up\n\
         address add {}/{} dev {device}\n\
         address add {}/64 dev {device} nodad\n\
         neighbour replace {server_v4} lladdr {mac} dev {device} nud permanent\n\
         neighbour replace {server_v6} lladdr {mac} dev {device} nud permanent\n\
         route add local {} dev lo\n\
         route add local {} dev lo\n",
        link.gateway_v4,
        link.link_prefix_v4,
        link.gateway_v6,
        range(link.clients_v4),
        range(link.clients_v6),
        mac = mac(EDGE_MAC),
    )
}

fn range<A: std::fmt::Display>((address, length): (A, u8)) -> String {
    format!("{address}/{length}")
}

fn mac(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Makes an interface send every segment as it will arrive. Receive offload stays on at the
/// clients' end: veth receives through NAPI then, without which its peer's XDP could send nothing
/// back.
fn switch_offloads_off(namespace: &Namespace, interface: &str, receive: &str) -> Result<()> {
    let features = ["tso", "off", "gso", "off", "tx", "off", "gro", receive];
    run(namespace.command("ethtool").args(["-K", interface]).args(features), "").map(drop)
}

/// The kernel notices a carrier in its own time; until then what is sent is lost.
fn wait_for_carrier(namespace: &Namespace, interface: &str) -> Result<()> {
    wait_until(&format!("{interface} is up"), CARRIER, || {
        let shown = run(namespace.command("ip").args(["link", "show", "dev", interface]), "")?;
        Ok(shown.contains("state UP") && !shown.contains("qdisc noop "))
    })
}
