//! From one ABI version to another, newer or older, without a gap: no verdict that is enforced stops
//! being so, and nobody's connection is harmed.
//!
//! Every version pins below a folder of its own, and links are pinned outside of them. So this version
//! loads beside the one that runs, fills its own verdict maps from the ledger, and takes up who was
//! proven. Then each link gets the new program in one step, egress before ingress, and only if the program
//! in place is one that Weir pinned. When no link runs a program of the other version any more, its folder
//! goes, programs before maps. Until then it is whole, and whoever starts next, of either version,
//! finds what each link runs.
//!
//! What was measured is taken up in one of two ways. A map whose keys, values and meaning this version knows
//! to be the same ([`MapSpec::same_since`]) is pinned here too, and both versions' programs use it: nothing
//! is copied and nothing lost. Of any other map, an older or newer version's alike, only the keys are
//! understood, where they have the size of ours (`proof`).

mod proof;
mod versions;

use std::{io, os::fd::AsFd};

use aya::maps::{Map, MapData, RingBuf};
use weir_common::abi::{
    map::{self, MapSpec},
    time::SECOND_NS,
};

use self::versions::Version;
pub(super) use self::versions::program_of_another_version;
use super::{
    detach,
    error::KernelError,
    pins::{self, Made},
    sys,
    tables::Tables,
};
use crate::{
    daemon::sensor::Options,
    enforce::dataplane::DataplaneError,
    system::{
        clock,
        paths::{Paths, abi_version},
    },
};

/// So long after a takeover, segments that belong to nothing known are no strays: twice as long as Linux
/// tries to finish a handshake (`tcp_synack_retries`), which is what no record is taken up of.
const GRACE_NS: u64 = 128 * SECOND_NS;

/// What another version left, and how far taking over from it has come.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    paths: Option<Paths>,
    /// Other versions; those that links run come first.
    others: Vec<Version>,
    /// Segments that belong to nothing count as strays from then on; 0 = always.
    pub(super) strays_from_ns: u64,
}

impl Takeover {
    /// Looks for other versions. What is left of this one while links run another's programs is from
    /// before that one, or from a start that was cut off: it goes, because its verdicts are none any more.
    pub(super) fn prepare(options: &Options) -> Result<Self, KernelError> {
        let paths = &options.paths;
        let (own, others) = versions::find(paths)?;
        if others.iter().any(|it| it.is_attached)
            && let Some(own) = own.filter(|own| !own.is_attached)
        {
            own.remove(paths)?;
        }
        let strays_from_ns = if others.iter().any(|it| it.is_attached) {
            clock::monotonic_ns().saturating_add(GRACE_NS)
        } else {
            0
        };
        Ok(Self { paths: Some(paths.clone()), others, strays_from_ns })
    }

    /// Pins the maps here that this version knows to be the same in the one that runs.
    pub(super) fn share(&self, made: &mut Made) -> Result<(), KernelError> {
        let Some(paths) = &self.paths else { return Ok(()) };
        let Some(old) = self.attached().find(|it| it.number < abi_version()) else { return Ok(()) };
        for spec in map::VERSIONED.iter().filter(|spec| is_same(spec, old.number)) {
            let (from, to) = (old.map(spec), paths.map(spec.name));
            if to.exists() {
                continue;
            }
            // Whatever cannot be taken up is made anew; the start does not depend on it.
            let taken = sys::open_pinned(&from).and_then(|map| {
                pins::compare(&from, spec, map.as_fd()).map_err(io::Error::other)?;
                sys::pin(map.as_fd(), &to)
            });
            match taken {
                Ok(()) => made.file(to),
                Err(error) => tracing::warn!(
                    "cannot take {} of version {} up: {error}; it begins empty",
                    spec.name,
                    old.number
                ),
            }
        }
        Ok(())
    }

    /// Takes over who was proven, of versions whose records are not understood. Called before links get
    /// their new programs, and once more after: for what came in between.
    pub(super) fn copy(&self, tables: &Tables) -> Result<(), DataplaneError> {
        for old in self.attached() {
            let copied = proof::copy(old, tables)?;
            if copied != proof::Copied::default() {
                tracing::info!(
                    "of version {}: {} proven sources and {} connections are taken up",
                    old.number,
                    copied.sources,
                    copied.flows
                );
            }
        }
        Ok(())
    }

    /// Every link runs this version's programs: what is left of the others goes. What cannot be removed
    /// is left to `weir detach`: the start does not depend on it.
    pub(super) fn finish(&mut self) {
        let Some(paths) = self.paths.take() else { return };
        for old in self.others.drain(..) {
            let running = versions::running(&paths);
            if old.programs.iter().any(|id| running.contains(id)) {
                tracing::warn!(
                    "version {} goes on at interfaces that this run was not given: its maps stay",
                    old.number
                );
                continue;
            }
            let lost = count_left(&old, &paths);
            match old.remove(&paths) {
                Ok(()) if old.is_attached => tracing::info!(
                    "took over from version {}; {lost} of its records to the daemon were not read",
                    old.number
                ),
                Ok(()) => tracing::info!("removed what was left of version {}", old.number),
                Err(error) => tracing::warn!("{error}; `weir detach` tries again"),
            }
        }
    }

    fn attached(&self) -> impl Iterator<Item = &Version> {
        self.others.iter().filter(|it| it.is_attached)
    }
}

impl Version {
    /// Removes the version's folder: programs, then maps.
    fn remove(&self, paths: &Paths) -> Result<(), KernelError> {
        for folder in [self.folder.join("programs"), self.folder.clone()] {
            if folder.exists() {
                detach::remove_tree(&folder, &paths.bpffs, &mut Vec::new())?;
            }
        }
        Ok(())
    }
}

/// Whether a map of an earlier version is what this version's is.
const fn is_same(spec: &MapSpec, version: u32) -> bool {
    spec.same_since != 0 && version >= spec.same_since
}

/// Records in ring buffers that nobody will read: those that this version does not share.
fn count_left(old: &Version, paths: &Paths) -> usize {
    let left = |spec: &MapSpec| -> Option<usize> {
        let path = old.map(spec);
        let (theirs, ours) =
            (sys::open_pinned(&path).ok()?, sys::open_pinned(&paths.map(spec.name)).ok()?);
        if sys::is_same_map(theirs.as_fd(), ours.as_fd()).ok()? {
            return None;
        }
        let data = MapData::from_pin(&path).ok()?;
        let mut ring = RingBuf::try_from(Map::RingBuf(data)).ok()?;
        Some(std::iter::from_fn(|| ring.next().map(drop)).count())
    };
    [map::EVENTS, map::HELLO_BYTES].iter().filter_map(left).sum()
}
