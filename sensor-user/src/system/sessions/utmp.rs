//! utmp(5), where a host still has it. Only the address counts that sshd put into a record: the host's
//! name in it can be chosen by whoever writes a record, and setgid programs write some for any user.

use std::{
    fs::File,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Places;

/// `struct utmp` of glibc: with 32-bit times where 32-bit programs share it.
const RECORD: usize = if cfg!(target_arch = "x86_64") { 384 } else { 400 };
/// `ut_addr_v6`
const ADDRESS: usize = if cfg!(target_arch = "x86_64") { 348 } else { 360 };
/// `USER_PROCESS`
const USER: u16 = 7;
/// Bytes that are read: thousands of sessions.
const LARGEST: u64 = 4 << 20;

/// Where users' sessions over SSH come from.
pub(super) fn peers(places: &Places) -> Vec<IpAddr> {
    let mut bytes = Vec::new();
    let read = File::open(&places.utmp).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    if read.is_err() {
        return Vec::new();
    }
    let (records, _) = bytes.as_chunks::<RECORD>();
    records.iter().filter_map(|record| peer(places, record)).collect()
}

fn peer(places: &Places, record: &[u8; RECORD]) -> Option<IpAddr> {
    let kind = u16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
    let pid = u32::from_ne_bytes(record.get(4..8)?.try_into().ok()?);
    let address: [u8; 16] = record.get(ADDRESS..ADDRESS + 16)?.try_into().ok()?;
    if kind != USER || !super::is_sshd(&places.proc, pid) {
        return None;
    }
    let [a, b, c, d, rest @ ..] = address;
    let address = if rest == [0; 12] {
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        IpAddr::V6(Ipv6Addr::from(address)).to_canonical()
    };
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
pub(super) fn record(kind: u16, pid: u32, address: &[u8]) -> Vec<u8> {
    let mut record = vec![0; RECORD];
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&pid.to_ne_bytes());
    record[ADDRESS..ADDRESS + address.len()].copy_from_slice(address);
    record
}
