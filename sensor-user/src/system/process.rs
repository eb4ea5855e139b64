//! The daemon's own footprint.

use std::{fs, io};

/// Resident memory of this process in bytes (`VmRSS` of proc(5)).
pub fn resident_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS in /proc/self/status"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_resident() {
        assert!(super::resident_bytes().unwrap() > 100_000);
    }
}
