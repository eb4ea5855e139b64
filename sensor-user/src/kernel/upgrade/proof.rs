//! Who was proven, taken from a version whose records this one does not understand: the keys, with
//! records that begin now.
//!
//! A source keeps its lane through the SYN guard and does not count as a stranger. A connection goes on as
//! one whose numbers are learned from the server's next segment (`flow/progress.rs`); until then nothing
//! is held against its client, and what it did before counts for nobody.

use std::os::fd::AsFd;

use weir_common::abi::{
    Flow, FlowKey, Outbound, Protocol, Source, SourceKey,
    control::service_index,
    map::{self, MapKind, MapSpec},
    verdict::UNPROTECTED,
};

use super::Version;
use crate::{
    enforce::dataplane::DataplaneError,
    kernel::{
        batch,
        sys::{self, Plain},
        table::Table,
        tables::Tables,
    },
    system::clock,
};

/// How many records began anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Copied {
    pub(super) sources: usize,
    pub(super) flows: usize,
}

/// Copies what is not there yet.
pub(super) fn copy(old: &Version, tables: &Tables) -> Result<Copied, DataplaneError> {
    let now_ns = clock::monotonic_ns();
    let sources = each(old, &map::SOURCES, &tables.sources, |_: &SourceKey| {
        Ok(Some(Source {
            first_proof_ns: now_ns,
            last_proof_ns: now_ns,
            connections: 1,
            ..Source::default()
        }))
    })?;
    let flows =
        each(old, &map::FLOWS, &tables.flows, |key: &FlowKey| resumed(key, tables, now_ns))?;
    each(old, &map::OUTBOUND, &tables.outbound, |key: &FlowKey| {
        Ok(is_flow(key).then_some(Outbound { last_ns: now_ns }))
    })?;
    Ok(Copied { sources, flows })
}

/// Writes a record for each key of the other version's map that this version's has none of. A map that is
/// not there, or has other keys, has nothing to give.
fn each<K: Plain, V: Plain>(
    old: &Version,
    spec: &MapSpec,
    table: &Table<K, V>,
    mut record: impl FnMut(&K) -> Result<Option<V>, DataplaneError>,
) -> Result<usize, DataplaneError> {
    let Ok(map) = sys::open_pinned(&old.map(spec)) else { return Ok(0) };
    // Shared as it stands.
    if sys::is_same_map(map.as_fd(), table.fd()).unwrap_or(false) {
        return Ok(0);
    }
    let Ok(shape) = sys::map_shape(map.as_fd()) else { return Ok(0) };
    let is_hash = [MapKind::Hash as u32, MapKind::LruHash as u32].contains(&shape.kind);
    if !is_hash || shape.key_size as usize != size_of::<K>() {
        tracing::warn!(
            "{} of version {} has other keys than ours: it begins empty",
            spec.name,
            old.number
        );
        return Ok(0);
    }
    let mut keys = Vec::new();
    batch::dump_keys(map.as_fd(), shape.value_size as usize, |key: &K| keys.push(*key)).map_err(
        |source| DataplaneError::Kernel {
            operation: "read",
            object: format!("map {} of version {}", spec.name, old.number),
            source,
        },
    )?;
    let mut copied = 0;
    for key in &keys {
        if let Some(record) = record(key)? {
            copied += usize::from(table.insert(key, &record)?);
        }
    }
    Ok(copied)
}

/// The record of a connection that goes on; `None` for what is none to a service.
fn resumed(key: &FlowKey, tables: &Tables, now_ns: u64) -> Result<Option<Flow>, DataplaneError> {
    if !is_flow(key) {
        return Ok(None);
    }
    let is_udp = key.protocol == Protocol::Udp as u32;
    let index = service_index(is_udp, u16::from_be(key.local_port));
    let service = tables.services.get(&index)?.unwrap_or_default();
    if service.id == UNPROTECTED {
        return Ok(None);
    }
    let mut flow = Flow::default();
    flow.resume(service.id, now_ns);
    Ok(Some(flow))
}

/// Whether a key is one that ours could be: another version may mean something else by its bytes.
fn is_flow(key: &FlowKey) -> bool {
    let is_known = [Protocol::Tcp, Protocol::Udp].into_iter().any(|it| key.protocol == it as u32);
    is_known && key.remote_port != 0 && key.local_port != 0
}
