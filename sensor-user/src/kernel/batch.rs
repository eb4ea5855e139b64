//! Many elements of a map with one call of bpf(2).
//!
//! A map is read as a [`Walk`] that is taken step by step, so that whoever reads a large one can do
//! other things in between. An entry that stands in a hash all the while is read exactly once,
//! whatever comes and goes beside it: entries never move between buckets. Kernels that read no tries
//! in batches are asked key by key; there an entry may be read again when another is removed.

use std::{io, os::fd::BorrowedFd};

use super::sys::{self, Plain, raw};
use crate::system::bpf::bpf;

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_LOOKUP_BATCH: i32 = 24;
const MAP_UPDATE_BATCH: i32 = 26;
const MAP_DELETE_BATCH: i32 = 27;

/// A key that vanished while it was read, so often in a row that the kernel gave up
/// (`generic_map_lookup_batch`); more often than this nobody removes.
const PATIENCE: usize = 1024;

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Writes many elements. On failure, also how many were written before it.
pub(super) fn update<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> Result<(), (usize, io::Error)> {
    debug_assert_eq!(keys.len(), values.len());
    if keys.is_empty() {
        return Ok(());
    }
    let mut attributes = Batch {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: raw(map),
        ..Batch::default()
    };
    // SAFETY: keys and values hold `count` elements of the map's shape.
    match unsafe { bpf(MAP_UPDATE_BATCH, &mut attributes) } {
        Ok(_) => Ok(()),
        Err(error) => Err((attributes.count as usize, error)),
    }
}

/// Removes many elements; those that are not there are passed over. Returns how many there were.
pub(super) fn delete<K: Plain>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<usize> {
    let mut rest = keys;
    let mut removed = 0;
    while !rest.is_empty() {
        let mut attributes = Batch {
            keys: rest.as_ptr() as u64,
            count: rest.len() as u32,
            map_fd: raw(map),
            ..Batch::default()
        };
        // SAFETY: `keys` holds `count` elements of the map's shape.
        let result = unsafe { bpf(MAP_DELETE_BATCH, &mut attributes) };
        let done = (attributes.count as usize).min(rest.len());
        removed += done;
        match result {
            Ok(_) => break,
            // The kernel stops at the first absent key: go on behind it.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                rest = rest.get(done + 1..).unwrap_or_default();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Reads a whole map in batches of `size` elements, in no order.
pub(super) fn dump<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    size: usize,
    mut each: impl FnMut(&[K], &[V]),
) -> io::Result<()> {
    let mut walk = Walk::new(size);
    while let Some((keys, values)) = walk.step(map)? {
        each(keys, values);
    }
    Ok(())
}

/// Reads the keys of a hash of any values, whose size is `value_size`, in no order.
pub(super) fn dump_keys<K: Plain>(
    map: BorrowedFd<'_>,
    value_size: usize,
    mut each: impl FnMut(&K),
) -> io::Result<()> {
    /// Keys of one call, at first; a bucket with more makes it grow.
    const SIZE: usize = 1024;
    let mut size = SIZE;
    let (mut position, mut next) = (0u32, 0u32);
    let mut first = true;
    loop {
        let mut keys = vec![K::default(); size];
        let mut values = vec![0u8; size.saturating_mul(value_size)];
        let mut attributes = Batch {
            in_batch: if first { 0 } else { (&raw const position) as u64 },
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: size as u32,
            map_fd: raw(map),
            ..Batch::default()
        };
        // SAFETY: keys and values have room for `count` elements: the caller has read the sizes off
        // the map itself; a hash's position is the number of a bucket.
        let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                size = size.saturating_mul(2);
                continue;
            }
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            result => {
                keys.iter().take(attributes.count as usize).for_each(&mut each);
                if result.is_err() {
                    return Ok(());
                }
            }
        }
        position = next;
        first = false;
    }
}

/// A way through a map.
#[derive(Debug)]
pub(super) struct Walk<K, V> {
    size: usize,
    keys: Vec<K>,
    values: Vec<V>,
    // A batch's position: a bucket's number, or for tries a whole key.
    position: [u64; 8],
    state: State<K>,
}

#[derive(Clone, Copy, Debug)]
enum State<K> {
    First,
    Next,
    /// Key by key; the last one that was read.
    ByKey(Option<K>),
    Over,
}

impl<K: Plain, V: Plain> Walk<K, V> {
    /// From the beginning, in batches of about `size` elements.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            keys: vec![K::default(); size],
            values: vec![V::default(); size],
            position: [0; 8],
            state: State::First,
        }
    }

    /// The same, for a kernel that reads this map in no batches.
    #[cfg(test)]
    fn by_key(size: usize) -> Self {
        Self { state: State::ByKey(None), ..Self::new(size) }
    }

    /// The next elements, of the same map every time; perhaps none of them. `None`: that was all.
    pub(super) fn step(&mut self, map: BorrowedFd<'_>) -> io::Result<Option<(&[K], &[V])>> {
        let count = match self.state {
            State::Over => return Ok(None),
            State::ByKey(last) => self.key_by_key(map, last)?,
            State::First | State::Next => self.batch(map)?,
        };
        Ok(Some((
            self.keys.get(..count).unwrap_or_default(),
            self.values.get(..count).unwrap_or_default(),
        )))
    }

    fn batch(&mut self, map: BorrowedFd<'_>) -> io::Result<usize> {
        let is_first = matches!(self.state, State::First);
        for _ in 0..PATIENCE {
            let mut next = [0u64; 8];
            let mut attributes = Batch {
                in_batch: if is_first { 0 } else { self.position.as_ptr() as u64 },
                out_batch: next.as_mut_ptr() as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: self.size as u32,
                map_fd: raw(map),
                ..Batch::default()
            };
            // SAFETY: keys and values have room for `count` elements of the map's shape; a position
            // is at most a key, and the largest key has 40 bytes.
            let result = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
            let count = attributes.count as usize;
            match result.map_err(|error| (error.raw_os_error(), error)) {
                Ok(_) => {
                    self.position = next;
                    self.state = State::Next;
                    return Ok(count);
                }
                Err((Some(libc::ENOENT), _)) => {
                    self.state = State::Over;
                    return Ok(count);
                }
                // One bucket holds more than a batch.
                Err((Some(libc::ENOSPC), _)) => {
                    self.size *= 2;
                    self.keys.resize(self.size, K::default());
                    self.values.resize(self.size, V::default());
                }
                Err((Some(libc::EINTR | libc::EAGAIN), _)) => {}
                Err((_, error)) if is_first && sys::is_unsupported(&error) => {
                    return self.key_by_key(map, None);
                }
                Err((_, error)) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EINTR))
    }

    fn key_by_key(&mut self, map: BorrowedFd<'_>, mut last: Option<K>) -> io::Result<usize> {
        let mut count = 0;
        for (key, value) in self.keys.iter_mut().zip(&mut self.values) {
            if !sys::next_key(map, last.as_ref(), key)? {
                self.state = State::Over;
                return Ok(count);
            }
            last = Some(*key);
            if sys::lookup(map, key, std::slice::from_mut(value))? {
                count += 1;
            } else {
                break;
            }
        }
        self.state = State::ByKey(last);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        os::fd::{AsFd, FromRawFd, OwnedFd},
    };

    use super::*;

    // enum bpf_cmd and bpf_map_type, include/uapi/linux/bpf.h
    const MAP_CREATE: i32 = 0;
    const HASH: u32 = 1;
    const LPM_TRIE: u32 = 11;
    const NO_PREALLOC: u32 = 1;

    /// A map of keys of two words; `None` without the privileges for one.
    fn map(kind: u32) -> Option<OwnedFd> {
        let mut attributes = [kind, 8, 4, 4096, NO_PREALLOC];
        // SAFETY: these are the first fields of the command's attributes.
        match unsafe { bpf(MAP_CREATE, &mut attributes) } {
            // SAFETY: the descriptor was made for this.
            Ok(fd) => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                eprintln!("SKIPPED: making a BPF map needs root");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn filled(kind: u32, entries: u32) -> Option<OwnedFd> {
        let map = map(kind)?;
        let keys: Vec<[u32; 2]> = (0..entries).map(|n| [32, (n * 7919).to_be()]).collect();
        let values: Vec<u32> = (0..entries).collect();
        update(map.as_fd(), &keys, &values).unwrap();
        Some(map)
    }

    fn read(map: &OwnedFd, mut walk: Walk<[u32; 2], u32>) -> BTreeMap<[u32; 2], u32> {
        let mut all = BTreeMap::new();
        while let Some((keys, values)) = walk.step(map.as_fd()).unwrap() {
            for (key, value) in keys.iter().zip(values) {
                assert_eq!(all.insert(*key, *value), None, "an entry is read once");
            }
        }
        all
    }

    #[test]
    fn a_trie_reads_the_same_in_batches_and_key_by_key() {
        let Some(map) = filled(LPM_TRIE, 1000) else { return };
        let by_batch = read(&map, Walk::new(64));
        assert_eq!(by_batch.len(), 1000);
        assert_eq!(read(&map, Walk::by_key(64)), by_batch);
    }

    #[test]
    fn a_batch_smaller_than_a_bucket_grows() {
        let Some(map) = filled(HASH, 3000) else { return };
        assert_eq!(read(&map, Walk::new(1)).len(), 3000);
    }

    #[test]
    fn what_stays_is_read_once_whatever_goes_meanwhile() {
        let Some(map) = filled(HASH, 3000) else { return };
        let mut walk = Walk::<[u32; 2], u32>::new(100);
        let mut seen: Vec<u32> = Vec::new();
        while let Some((_, values)) = walk.step(map.as_fd()).unwrap() {
            seen.extend(values.iter().filter(|value| **value < 1000));
            let next = seen.len() as u32 % 2000 + 1000;
            let gone: Vec<[u32; 2]> = (next..next + 50).map(|n| [32, (n * 7919).to_be()]).collect();
            delete(map.as_fd(), &gone).unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<u32>>());
    }

    #[test]
    fn what_is_not_there_is_passed_over_when_it_is_removed() {
        let Some(map) = filled(HASH, 10) else { return };
        let keys: Vec<[u32; 2]> = (5..15).map(|n: u32| [32, (n * 7919).to_be()]).collect();
        assert_eq!(delete(map.as_fd(), &keys).unwrap(), 5);
        assert_eq!(read(&map, Walk::new(4)).len(), 5);
    }
}
