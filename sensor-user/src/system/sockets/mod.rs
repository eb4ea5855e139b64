//! TCP sockets of this host, through `NETLINK_SOCK_DIAG` (sock_diag(7)).
//!
//! A dropped source must not keep its connections open in the server: [`destroy()`] ends them, as
//! `ss --kill` does. And what this host opened itself before Weir came must be known, or a verdict
//! on the far end would cut it: [`opened_by_this_host`].
//!
//! Everything happens in the network namespace of the calling thread and blocks it for the time
//! of a few system calls per socket.

mod destroy;
mod diag;
mod filter;
mod inbound;
mod outbound;

use std::io;

pub use destroy::{AtPorts, Ended, Targets, destroy, destroy_flows};
pub use inbound::{Inbound, connected_to, inbound, listeners};
pub use outbound::opened_by_this_host;

/// What can go wrong with this host's sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel cannot do it at all.
    #[error(
        "this kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY is not set): connections that \
         a dropped source has open end with a reset at its next packet, or when the server's own \
         time-out comes"
    )]
    Unsupported,
    /// The kernel refused.
    #[error("cannot {operation} TCP sockets: {source}; this needs CAP_NET_ADMIN")]
    Kernel {
        /// What was tried, as a verb.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
