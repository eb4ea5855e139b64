//! The lab's network: namespaces joined by veth pairs, in which every address is the lab's own.
//!
//! Threads and child processes enter a namespace with `setns` alone. `ip netns exec` would also
//! give them a mount namespace of their own, in which bpffs is out of sight.

mod command;
mod directory;
mod identity;
mod lab;
mod leftovers;
mod namespace;
mod pcap;
mod plan;
mod recorder;
mod socket_table;
mod tun;
mod wire;

pub use command::run;
pub(crate) use directory::Directory;
pub use identity::LabId;
pub use lab::{Lab, LabBuilder};
pub use leftovers::{Cleaned, clean};
pub use namespace::{Namespace, runtime};
pub use pcap::{read_pcap, write_pcap};
pub use plan::{
    API_PORT, CLIENTS_MAC, EDGE_MAC, FAR_CLIENTS, FLOOD_SOURCES, Family, LINKS, LinkPlan, PARTNERS,
    PROTECTED_PORTS, SHOP_PORT,
};
pub use recorder::{Capture, Captured, Direction, Recorder};
pub use socket_table::{Socket, TcpState, sockets};
pub use tun::Tun;
pub use wire::Wire;
