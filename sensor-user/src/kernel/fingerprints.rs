//! The maps that know clients by more than their address: fingerprints, SYN signatures, flows,
//! names, proxies; and the secret that their keys depend on.
//!
//! `CONTROL` says which of the tables of verdicts have entries. A bit is set before the first entry
//! is written and cleared after the last is gone, so that an entry counts from the packet after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use ipnet::IpNet;
use ring::rand::{SecureRandom, SystemRandom};
use weir_common::{
    abi::{
        FlowKey, Verdict,
        control::{CONTROL_FINGERPRINTS, CONTROL_FLOWS, CONTROL_SYNS},
        map::{self, INTERFACE_PARTIAL_CHECKSUMS, MapSpec},
    },
    tls::{Seed, name::NameHash},
};

use super::{pins::Pinned, sys::Plain, table::Table};
use crate::{
    enforce::{
        audit::differing,
        dataplane::{DataplaneError, ServiceName, Subject},
    },
    system::address,
};

/// The maps.
#[derive(Debug)]
pub(super) struct FingerprintTables {
    seed: Seed,
    secret: Table<u32, Seed>,
    pub(super) fingerprints: Table<u64, Verdict>,
    pub(super) syns: Table<u64, Verdict>,
    pub(super) flows: Table<FlowKey, Verdict>,
    names: Table<u64, u32>,
    proxies: Table<[u32; 5], u32>,
    interfaces: Table<u32, u32>,
}

impl FingerprintTables {
    /// Types the maps. The secret is made where it is missing, and never again: with another one,
    /// every key in the maps would mean nothing.
    pub(super) fn new(all: &Pinned) -> io::Result<Self> {
        let secret = Table::new(all.clone_of(&map::KEY_SEED)?, &map::KEY_SEED);
        Ok(Self {
            seed: seed(&secret)?,
            secret,
            fingerprints: Table::new(
                all.clone_of(&map::FINGERPRINT_VERDICTS)?,
                &map::FINGERPRINT_VERDICTS,
            ),
            syns: Table::new(all.clone_of(&map::SYN_VERDICTS)?, &map::SYN_VERDICTS),
            flows: Table::new(all.clone_of(&map::FLOW_VERDICTS)?, &map::FLOW_VERDICTS),
            names: Table::new(all.clone_of(&map::SNI_SERVICES)?, &map::SNI_SERVICES),
            proxies: Table::new(all.clone_of(&map::PROXIES)?, &map::PROXIES),
            interfaces: Table::new(all.clone_of(&map::INTERFACES)?, &map::INTERFACES),
        })
    }

    pub(super) const fn seed(&self) -> Seed {
        self.seed
    }

    /// The bits of `CONTROL` that these entries need.
    pub(super) fn flags_for(entries: &[(Subject, Verdict)]) -> u16 {
        entries.iter().fold(0, |flags, (subject, _)| {
            flags
                | match subject {
                    Subject::Fingerprint(_) => CONTROL_FINGERPRINTS,
                    Subject::Syn(_) => CONTROL_SYNS,
                    Subject::Flow(_) => CONTROL_FLOWS,
                }
        })
    }

    /// The bits of `CONTROL` that the tables need as they are.
    pub(super) fn flags(&self) -> Result<u16, DataplaneError> {
        let bit = |is_empty: bool, bit: u16| if is_empty { 0 } else { bit };
        Ok(bit(self.fingerprints.is_empty()?, CONTROL_FINGERPRINTS)
            | bit(self.syns.is_empty()?, CONTROL_SYNS)
            | bit(self.flows.is_empty()?, CONTROL_FLOWS))
    }

    pub(super) fn write(&self, entries: &[(Subject, Verdict)]) -> Result<(), DataplaneError> {
        let sorted = Sorted::of(entries.iter().copied());
        self.fingerprints.put_all(&sorted.fingerprints.0, &sorted.fingerprints.1)?;
        self.syns.put_all(&sorted.syns.0, &sorted.syns.1)?;
        self.flows.put_all(&sorted.flows.0, &sorted.flows.1)
    }

    pub(super) fn remove(&self, subjects: &[Subject]) -> Result<usize, DataplaneError> {
        let sorted = Sorted::of(subjects.iter().map(|subject| (*subject, ())));
        Ok(self.fingerprints.remove_all(&sorted.fingerprints.0)?
            + self.syns.remove_all(&sorted.syns.0)?
            + self.flows.remove_all(&sorted.flows.0)?)
    }

    pub(super) fn read(&self) -> Result<Vec<(Subject, Verdict)>, DataplaneError> {
        let mut all: Vec<(Subject, Verdict)> = Vec::new();
        let by_hello = self.fingerprints.dump()?.into_iter();
        all.extend(by_hello.map(|(key, it)| (Subject::Fingerprint(key), it)));
        all.extend(self.syns.dump()?.into_iter().map(|(key, it)| (Subject::Syn(key), it)));
        all.extend(self.flows.dump()?.into_iter().map(|(key, it)| (Subject::Flow(key), it)));
        Ok(all)
    }

    /// Returns what the table holds from now on.
    pub(super) fn set_names(
        &self,
        names: &[ServiceName],
    ) -> Result<BTreeMap<u64, u32>, DataplaneError> {
        let key = |it: &ServiceName| NameHash::of(&self.seed, it.port_service, &it.name).key();
        let keys: Vec<u64> = names.iter().map(key).collect();
        let values: Vec<u32> = names.iter().map(|it| u32::from(it.service)).collect();
        replace(&self.names, &keys, &values)?;
        Ok(keys.into_iter().zip(values).collect())
    }

    /// As [`Self::set_names`].
    pub(super) fn set_proxies(
        &self,
        proxies: &[IpNet],
    ) -> Result<BTreeMap<[u32; 5], u32>, DataplaneError> {
        let keys: Vec<[u32; 5]> = proxies.iter().map(proxy_key).collect();
        replace(&self.proxies, &keys, &vec![1; keys.len()])?;
        Ok(keys.into_iter().map(|key| (key, 1)).collect())
    }

    /// Notes what is particular about an interface. Returns whether an entry was made for it.
    pub(super) fn set_interface(
        &self,
        ifindex: u32,
        partial_checksums: bool,
    ) -> Result<bool, DataplaneError> {
        if !partial_checksums {
            self.interfaces.remove_all(&[ifindex])?;
            return Ok(false);
        }
        let is_new = self.interfaces.get(&ifindex)?.is_none();
        self.interfaces.put(&ifindex, &INTERFACE_PARTIAL_CHECKSUMS)?;
        Ok(is_new)
    }

    /// The verdict on exactly this.
    pub(super) fn verdict(&self, subject: &Subject) -> Result<Option<Verdict>, DataplaneError> {
        match subject {
            Subject::Fingerprint(key) => self.fingerprints.get(key),
            Subject::Syn(key) => self.syns.get(key),
            Subject::Flow(key) => self.flows.get(key),
        }
    }

    /// Writes the secret again where it is another. Returns how many entries differed, as those that
    /// follow do.
    pub(super) fn put_seed_right(&self) -> Result<usize, DataplaneError> {
        if self.secret.get(&0)? == Some(self.seed) {
            return Ok(0);
        }
        self.secret.put(&0, &self.seed)?;
        Ok(1)
    }

    pub(super) fn put_names_right(
        &self,
        wanted: &BTreeMap<u64, u32>,
    ) -> Result<usize, DataplaneError> {
        put_right(&self.names, wanted)
    }

    pub(super) fn put_proxies_right(
        &self,
        wanted: &BTreeMap<[u32; 5], u32>,
    ) -> Result<usize, DataplaneError> {
        put_right(&self.proxies, wanted)
    }

    /// Those of other interfaces may be an earlier run's.
    pub(super) fn put_interfaces_right(
        &self,
        wanted: &BTreeMap<u32, u32>,
    ) -> Result<usize, DataplaneError> {
        let mut amiss = 0;
        for (ifindex, bits) in wanted {
            if self.interfaces.get(ifindex)?.unwrap_or(0) != *bits {
                amiss += 1;
                match bits {
                    0 => drop(self.interfaces.remove_all(&[*ifindex])?),
                    bits => self.interfaces.put(ifindex, bits)?,
                }
            }
        }
        Ok(amiss)
    }

    /// How full a map is; `None` if it is not one of these.
    pub(super) fn entries_of(&self, spec: &MapSpec) -> Option<io::Result<u64>> {
        Some(match spec.name {
            "FINGERPRINT_VERDICTS" => self.fingerprints.count(),
            "SYN_VERDICTS" => self.syns.count(),
            "FLOW_VERDICTS" => self.flows.count(),
            "SNI_SERVICES" => self.names.count(),
            "PROXIES" => self.proxies.count(),
            "INTERFACES" => self.interfaces.count(),
            _ => return None,
        })
    }
}

/// The secret in the map, made where there is none yet.
fn seed(table: &Table<u32, Seed>) -> io::Result<Seed> {
    let read = table.get(&0).map_err(io::Error::other)?.unwrap_or_default();
    if read != Seed::default() {
        return Ok(read);
    }
    let seed = fresh_seed()?;
    table.put(&0, &seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// A secret from the system's random source.
fn fresh_seed() -> io::Result<Seed> {
    let random = SystemRandom::new();
    let mut words = [[0u8; 8]; 2];
    for word in &mut words {
        random.fill(word).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    }
    let [add, multiply] = words.map(u64::from_ne_bytes);
    // Odd, so that it is never the default, which stands for "not made yet".
    Ok(Seed { add, multiply: multiply | 1 })
}

/// Makes a table hold what it should where it does not. Returns how many entries differed.
fn put_right<K: Plain + Ord + std::fmt::Debug>(
    table: &Table<K, u32>,
    wanted: &BTreeMap<K, u32>,
) -> Result<usize, DataplaneError> {
    let amiss = differing(wanted, &table.dump()?.into_iter().collect());
    if amiss > 0 {
        let (keys, values): (Vec<K>, Vec<u32>) = wanted.iter().map(|(k, v)| (*k, *v)).unzip();
        replace(table, &keys, &values)?;
    }
    Ok(amiss)
}

/// Makes a table hold these entries and no others. What is in both is never missing in between.
fn replace<K: Plain + Ord, V: Plain>(
    table: &Table<K, V>,
    keys: &[K],
    values: &[V],
) -> Result<(), DataplaneError> {
    let wanted: BTreeSet<&K> = keys.iter().collect();
    let old = table.dump()?.into_iter().map(|(key, _)| key);
    let stale: Vec<K> = old.filter(|key| !wanted.contains(key)).collect();
    table.remove_all(&stale)?;
    table.put_all(keys, values)
}

/// The key of a prefix among addresses of which IPv4 ones are mapped into IPv6.
fn proxy_key(prefix: &IpNet) -> [u32; 5] {
    let before = if matches!(prefix.addr(), IpAddr::V4(_)) { 96 } else { 0 };
    let [a, b, c, d] = address::words(prefix.network());
    [before + u32::from(prefix.prefix_len()), a, b, c, d]
}

/// Entries sorted by the map that they belong to.
struct Sorted<V> {
    fingerprints: (Vec<u64>, Vec<V>),
    syns: (Vec<u64>, Vec<V>),
    flows: (Vec<FlowKey>, Vec<V>),
}

impl<V> Sorted<V> {
    fn of(entries: impl Iterator<Item = (Subject, V)>) -> Self {
        let mut sorted = Self {
            fingerprints: (Vec::new(), Vec::new()),
            syns: (Vec::new(), Vec::new()),
            flows: (Vec::new(), Vec::new()),
        };
        for (subject, value) in entries {
            match subject {
                Subject::Fingerprint(key) => {
                    sorted.fingerprints.0.push(key);
                    sorted.fingerprints.1.push(value);
                }
                Subject::Syn(key) => {
                    sorted.syns.0.push(key);
                    sorted.syns.1.push(value);
                }
                Subject::Flow(key) => {
                    sorted.flows.0.push(key);
                    sorted.flows.1.push(value);
                }
            }
        }
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_the_default_nor_the_same() {
        let (one, other) = (fresh_seed().unwrap(), fresh_seed().unwrap());
        assert_ne!(one, Seed::default());
        assert_ne!(one, other);
    }

    #[test]
    fn entries_go_to_their_maps_and_say_which_are_used() {
        let subjects =
            [Subject::Syn(7), Subject::Fingerprint(8), Subject::Flow(FlowKey::default())];
        let entries = subjects.map(|subject| (subject, Verdict::default()));
        let sorted = Sorted::of(entries.into_iter());
        assert_eq!((sorted.syns.0, sorted.fingerprints.0), (vec![7], vec![8]));
        assert_eq!(sorted.flows.0, [FlowKey::default()]);
        let [syn, hello, flow] = entries;
        assert_eq!(FingerprintTables::flags_for(&[syn]), CONTROL_SYNS);
        assert_eq!(
            FingerprintTables::flags_for(&[hello, flow, hello]),
            CONTROL_FINGERPRINTS | CONTROL_FLOWS
        );
        assert_eq!(FingerprintTables::flags_for(&[]), 0);
    }

    #[test]
    fn ipv4_proxies_are_mapped_and_host_bits_do_not_count() {
        let mapped = [96 + 24, 0, 0, 0xffff_u32.to_be(), 0xc000_0200_u32.to_be()];
        assert_eq!(proxy_key(&"192.0.2.7/24".parse().unwrap()), mapped);
        let six = [32, 0x2001_0db8_u32.to_be(), 0, 0, 0];
        assert_eq!(proxy_key(&"2001:db8::/32".parse().unwrap()), six);
    }
}
