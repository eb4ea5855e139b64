//! TLS clients as people have them, and tools that name them independently of Weir.
//!
//! Both come from one Debian release unpacked into a folder of the target directory, so that the
//! machine stays as it is: `cargo xtask setup --clients` puts it there. A program from it runs
//! with the folder as its root, in a network namespace of the lab, with processes and mounts of its
//! own that end with it, and never longer than it is given.

mod cast;
mod catalogue;
mod errand;
mod fingerprints;
mod folder;
mod recorded;
mod suricata;
mod testimony;
mod tshark;

pub use cast::{Appearance, Cast};
pub use catalogue::{CATALOGUE, Program};
pub use fingerprints::{Connection, Fingerprint, Fingerprints, Transport, of_weir};
pub use folder::{Folder, Workplace};
pub use recorded::{Answer, RecordedHello};
pub use suricata::of_suricata;
pub use testimony::{HEADINGS, Testimony, testimonies};
pub use tshark::of_tshark;
