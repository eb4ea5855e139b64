//! The lab: namespaces, a real server, honest visitors and attackers, and packets of any shape.
//!
//! ```no_run
//! use std::{net::IpAddr, time::Duration};
//! use weir_lab::{actors::{HealthChecker, Troupe}, net::Lab, server::Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::new()?;
//! let server = Server::start(&lab)?;
//! let address = IpAddr::from(lab.link().client_v4(9));
//! let checker = HealthChecker { address, lasting: Duration::from_secs(3) };
//! let reports = Troupe::new().with(checker).play(&lab, &server)?.finish()?;
//! assert!(reports.iter().all(|report| report.is_fully_served()));
//! # Ok(())
//! # }
//! ```
//!
//! Everything is made of addresses that exist in the lab's own namespaces only, is bounded in
//! count and time, and is removed when the lab is dropped; what a crash leaves behind, the next
//! lab or `weir-lab clean` removes.

pub mod actors;
pub mod balancer;
pub mod bench;
pub mod bpf;
pub mod cdn;
pub mod challenge;
pub mod clients;
pub mod clock;
pub mod demo;
pub mod forgery;
pub mod fuzz;
pub mod handmade;
mod http;
pub mod net;
pub mod packet;
mod root;
pub mod saboteur;
pub mod server;
pub mod someone;
pub mod stranger;
pub mod tls;
pub mod weir;

pub use root::{is_root, say_skipped};
