//! Facts about this host, and the few things that are done to it outside the BPF programs:
//! interfaces, routes, kernel, capabilities, sockets.
//!
//! Promises: nothing here names aya, nothing here changes the host except `sockets::destroy`,
//! `durable` (files under the state directory) and `bpf::update` (one element of a pinned map); `privileges` and
//! `sandbox` change this process, and only by taking from it.

pub mod address;
pub mod bpf;
pub mod bpffs;
pub mod capability;
pub mod clock;
pub mod durable;
pub mod ethtool;
pub mod fan_in;
pub mod group;
pub mod interface;
pub mod kernel_version;
mod netlink;
pub mod netns;
pub mod paths;
pub mod privileges;
pub mod process;
pub mod received;
pub mod route;
pub mod sandbox;
pub mod sessions;
pub mod sockets;
pub mod traffic_control;
pub mod xdp_features;
