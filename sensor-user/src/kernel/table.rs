//! A map with its key and value types.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use weir_common::abi::{
    BucketKey, Control, Flow, FlowKey, Guard, Handshake, Outbound, QuicHandshake, Scan, Service,
    Source, SourceKey, Tally, Verdict, VerdictClass, map::MapSpec,
};
use weir_common::tls::Seed;

use super::{
    batch,
    sys::{self, Plain},
};
use crate::enforce::dataplane::DataplaneError;

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        // SAFETY: integers, or `repr(C)` structs of integers whose size is asserted to be the
        // sum of their fields' in `weir_common::abi`.
        $(unsafe impl Plain for $type {})+
    };
}

plain!(
    u32,
    u64,
    [u32; 2],
    [u32; 4],
    [u32; 5],
    FlowKey,
    SourceKey,
    BucketKey,
    Verdict,
    VerdictClass,
    Control,
    Guard,
    Service,
    Handshake,
    Flow,
    Outbound,
    Source,
    Scan,
    Tally,
    Seed,
    QuicHandshake,
);

/// Elements moved by one system call.
const BATCH: usize = 4096;

/// A map of keys `K` and values `V`.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    map: OwnedFd,
    spec: &'static MapSpec,
    types: PhantomData<(K, V)>,
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// Wraps a map whose shape was compared with `spec`.
    pub(super) const fn new(map: OwnedFd, spec: &'static MapSpec) -> Self {
        Self { map, spec, types: PhantomData }
    }

    /// The same map through another descriptor, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { map: self.map.try_clone()?, spec: self.spec, types: PhantomData })
    }

    pub(super) fn get(&self, key: &K) -> Result<Option<V>, DataplaneError> {
        let mut value = [V::default()];
        let found = sys::lookup(self.fd(), key, &mut value).map_err(|it| self.error("read", it))?;
        let [value] = value;
        Ok(found.then_some(value))
    }

    /// The values of all CPUs.
    pub(super) fn get_per_cpu(&self, key: &K, cpus: usize) -> Result<Vec<V>, DataplaneError> {
        let mut values = vec![V::default(); cpus];
        sys::lookup(self.fd(), key, &mut values).map_err(|it| self.error("read", it))?;
        Ok(values)
    }

    pub(super) fn put(&self, key: &K, value: &V) -> Result<(), DataplaneError> {
        sys::update(self.fd(), key, value).map_err(|it| self.error("update", it))
    }

    /// Writes an entry where there is none; whether it did.
    pub(super) fn insert(&self, key: &K, value: &V) -> Result<bool, DataplaneError> {
        sys::insert(self.fd(), key, value).map_err(|it| self.error("update", it))
    }

    /// Writes many entries.
    pub(super) fn put_all(&self, keys: &[K], values: &[V]) -> Result<(), DataplaneError> {
        let mut written = 0;
        for (some_keys, some_values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            batch::update(self.fd(), some_keys, some_values).map_err(|(done, error)| {
                let full = matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC));
                if full {
                    let written = written + done;
                    DataplaneError::Full { map: self.spec.name, written, wanted: keys.len() }
                } else {
                    self.error("update", error)
                }
            })?;
            written += some_keys.len();
        }
        Ok(())
    }

    /// Removes many entries; returns how many there were.
    pub(super) fn remove_all(&self, keys: &[K]) -> Result<usize, DataplaneError> {
        let mut removed = 0;
        for some in keys.chunks(BATCH) {
            removed +=
                batch::delete(self.fd(), some).map_err(|it| self.error("remove from", it))?;
        }
        Ok(removed)
    }

    /// Every entry, in no order.
    pub(super) fn dump(&self) -> Result<Vec<(K, V)>, DataplaneError> {
        let mut entries = Vec::new();
        batch::dump(self.fd(), BATCH, |keys: &[K], values: &[V]| {
            entries.extend(keys.iter().copied().zip(values.iter().copied()));
        })
        .map_err(|it| self.error("read", it))?;
        Ok(entries)
    }

    /// Whether there is no entry, expired ones included.
    pub(super) fn is_empty(&self) -> Result<bool, DataplaneError> {
        let mut first = K::default();
        let found = sys::first_key(self.fd(), &mut first).map_err(|it| self.error("read", it))?;
        Ok(!found)
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> io::Result<u64> {
        let mut count = 0;
        batch::dump(self.fd(), BATCH, |keys: &[K], _: &[V]| count += keys.len() as u64)?;
        Ok(count)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    fn error(&self, operation: &'static str, source: io::Error) -> DataplaneError {
        DataplaneError::Kernel { operation, object: format!("map {}", self.spec.name), source }
    }
}
