//! Verdicts and classes, read piece by piece through descriptors of its own.

use std::{io, os::fd::AsFd};

use weir_common::abi::{FlowKey, Verdict, VerdictClass};

use super::{
    super::{
        batch::Walk,
        sys::{self, Plain},
        table::Table,
        tables::{Tables, v4_net, v6_net},
    },
    is_stray,
};
use crate::{
    enforce::{
        audit::{Part, Reader, Site, Stray},
        dataplane::Subject,
    },
    system::kernel_version::KernelVersion,
};

/// Entries of a piece: what the loop compares between two events.
const PIECE: usize = 1024;

/// From this version on a map's memory says how many entries it holds (`htab_map_mem_usage`).
const COUNTS_MEMORY: (u32, u32) = (6, 4);

/// Reads the maps.
pub(super) struct KernelReader {
    v4_exact: Sparse<u32>,
    v6_exact: Sparse<[u32; 4]>,
    v4_prefixes: Sparse<[u32; 2]>,
    v6_prefixes: Sparse<[u32; 5]>,
    fingerprints: Sparse<u64>,
    syns: Sparse<u64>,
    flows: Sparse<FlowKey>,
    classes: Table<u32, VerdictClass>,
}

/// A map that is mostly empty, or mostly holds few entries.
struct Sparse<K> {
    table: Table<K, Verdict>,
    /// The memory that it took when it was empty, where that tells.
    empty_bytes: Option<u64>,
}

impl<K: Plain> Sparse<K> {
    fn new(table: &Table<K, Verdict>) -> io::Result<Self> {
        Ok(Self { table: table.try_clone()?, empty_bytes: None })
    }

    /// Gives every entry to `sink`, as `file` files it; `false`: nobody wants more. An empty hash of a
    /// million entries takes milliseconds to walk through, so one that was empty is not walked through
    /// again while it takes no more memory than then.
    fn sweep(
        &mut self,
        file: impl Fn(&K, &Verdict) -> Option<Filed>,
        sink: &mut dyn FnMut(Part) -> bool,
    ) -> io::Result<bool> {
        let tells = KernelVersion::running().is_some_and(|it| it.at_least(COUNTS_MEMORY));
        let bytes = if tells { Some(sys::map_bytes(self.table.fd())?) } else { None };
        if bytes.is_some() && bytes == self.empty_bytes {
            return Ok(true);
        }
        let mut count = 0;
        let mut walk = Walk::new(PIECE);
        while let Some((keys, values)) = walk.step(self.table.fd().as_fd())? {
            count += keys.len();
            let mut verdicts = Vec::with_capacity(keys.len());
            let mut strays = Vec::new();
            for (key, verdict) in keys.iter().zip(values) {
                match file(key, verdict) {
                    Some(Filed::At(site)) => verdicts.push((site, *verdict)),
                    Some(Filed::Stray(stray)) => strays.push((stray, *verdict)),
                    None => {}
                }
            }
            let goes_on = (verdicts.is_empty() || sink(Part::Verdicts(verdicts)))
                && (strays.is_empty() || sink(Part::Strays(strays)));
            if !goes_on {
                return Ok(false);
            }
        }
        self.empty_bytes = bytes.filter(|_| count == 0);
        Ok(true)
    }
}

/// Where an entry belongs.
enum Filed {
    At(Site),
    Stray(Stray),
}

impl KernelReader {
    pub(super) fn new(tables: &Tables) -> io::Result<Self> {
        let fingerprints = &tables.fingerprints;
        Ok(Self {
            v4_exact: Sparse::new(&tables.v4_exact)?,
            v6_exact: Sparse::new(&tables.v6_exact)?,
            v4_prefixes: Sparse::new(&tables.v4_prefixes)?,
            v6_prefixes: Sparse::new(&tables.v6_prefixes)?,
            fingerprints: Sparse::new(&fingerprints.fingerprints)?,
            syns: Sparse::new(&fingerprints.syns)?,
            flows: Sparse::new(&fingerprints.flows)?,
            classes: tables.classes.try_clone()?,
        })
    }

    fn read(&mut self, sink: &mut dyn FnMut(Part) -> bool) -> io::Result<()> {
        let exact_v4 = |key: &u32, _: &Verdict| Some(Filed::At(Site::Prefix(v4_net(*key, 32)?)));
        // A lower half of zero stands for the /64; the address itself is kept among the prefixes.
        let exact_v6 = |key: &[u32; 4], _: &Verdict| {
            let [_, _, c, d] = key;
            Some(Filed::At(Site::Prefix(v6_net(*key, if c | d == 0 { 64 } else { 128 })?)))
        };
        let prefix = |net: Option<ipnet::IpNet>| {
            let net = net?.trunc();
            Some(if is_stray(net.addr(), net.prefix_len()) {
                Filed::Stray(Stray(net))
            } else {
                Filed::At(Site::Prefix(net))
            })
        };
        let at = |subject: Subject| Some(Filed::At(Site::Subject(subject)));
        let goes_on = self.read_classes(sink)?
            && self.v4_exact.sweep(exact_v4, sink)?
            && self.v6_exact.sweep(exact_v6, sink)?
            && self.v4_prefixes.sweep(|[len, it], _| prefix(v4_net(*it, *len as u8)), sink)?
            && self
                .v6_prefixes
                .sweep(|[len, a, b, c, d], _| prefix(v6_net([*a, *b, *c, *d], *len as u8)), sink)?
            && self.fingerprints.sweep(|key, _| at(Subject::Fingerprint(*key)), sink)?
            && self.syns.sweep(|key, _| at(Subject::Syn(*key)), sink)?
            && self.flows.sweep(|key, _| at(Subject::Flow(*key)), sink)?;
        if goes_on {
            sink(Part::End);
        }
        Ok(())
    }

    fn read_classes(&self, sink: &mut dyn FnMut(Part) -> bool) -> io::Result<bool> {
        let mut walk = Walk::<u32, VerdictClass>::new(PIECE);
        let mut classes = Vec::new();
        while let Some((ids, values)) = walk.step(self.classes.fd())? {
            let defined = ids.iter().zip(values).filter(|(_, it)| **it != VerdictClass::default());
            classes.extend(defined.map(|(id, class)| (*id as u16, *class)));
        }
        Ok(sink(Part::Classes(classes)))
    }
}

impl Reader for KernelReader {
    fn sweep(&mut self, sink: &mut dyn FnMut(Part) -> bool) {
        if let Err(error) = self.read(sink) {
            sink(Part::Failed(error.to_string()));
        }
    }
}
