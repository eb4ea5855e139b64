//! Self-audit: what can be found wrong between what is wanted and what the kernel does, and how much
//! of what is wanted it does. Pure: who reads the kernel and who repairs stands elsewhere
//! ([`crate::daemon`], [`crate::kernel`]); the comparison itself is the ledger's ([`super::ledger`]).
//!
//! | part | what |
//! | --- | --- |
//! | `finding` | what was found, and what became of it |
//! | `coverage` | how much of what is wanted is done |
//! | `settings` | the tables that are no verdicts, as they were set |
//! | `synthetic` | packets that ask the live program for its verdict |

mod coverage;
mod finding;
mod settings;
pub mod synthetic;

use ipnet::IpNet;
use weir_common::abi::Verdict;

pub use self::{
    coverage::{Coverage, Figures},
    finding::{Fault, Finding, Outcome},
    settings::{Setting, Settings, differing, same_rate},
};
use super::dataplane::Subject;

/// Where a verdict stands in the kernel's maps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Site {
    /// At a prefix.
    Prefix(IpNet),
    /// At something that is not an address.
    Subject(Subject),
}

impl Site {
    /// What the verdict's own field says of it.
    pub(in crate::enforce) fn prefix_len(&self) -> u8 {
        match self {
            Self::Prefix(net) => net.prefix_len(),
            Self::Subject(_) => 0,
        }
    }
}

/// How an entry differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Drift {
    /// It was written and is not there.
    Missing,
    /// It has another class or another end.
    Changed,
    /// It is there, and nobody of ours wrote it.
    Foreign,
}

/// A class that means something else in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClassDrift {
    /// Its number.
    pub id: u16,
    /// Verdicts that name it.
    pub users: usize,
}

/// An entry at a place of a prefix map where the daemon never writes: a whole address, or an IPv6
/// /64, which have maps of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stray(pub IpNet);

/// A piece of what a sweep read.
#[derive(Debug)]
pub enum Part {
    /// Verdicts.
    Verdicts(Vec<(Site, Verdict)>),
    /// Verdicts where none belongs.
    Strays(Vec<(Stray, Verdict)>),
    /// What classes mean, all of them.
    Classes(Vec<(u16, weir_common::abi::VerdictClass)>),
    /// That was all.
    End,
    /// The kernel could not be read; the sweep is over.
    Failed(String),
}

/// Reads the kernel's verdicts, on a thread of its own.
pub trait Reader: Send {
    /// Reads everything once, piece by piece, the end included. `sink` says whether to go on.
    fn sweep(&mut self, sink: &mut dyn FnMut(Part) -> bool);
}
