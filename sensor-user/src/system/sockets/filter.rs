//! A socket filter in the kernel's own little language (`inet_diag_bc_run`, net/ipv4/inet_diag.c),
//! so that a dump returns a few sockets and not a hundred thousand.
//!
//! The program is a list of conditions on the remote address, any of which accepts. An operation
//! has two relative jumps; landing exactly on the end accepts, 4 bytes past it refuses.

use std::net::IpAddr;

use ipnet::IpNet;

// enum in include/uapi/linux/inet_diag.h
const JUMP: u8 = 1;
const LOCAL_ADDRESS: u8 = 7;
const REMOTE_ADDRESS: u8 = 8;

/// `struct inet_diag_bc_op`
const OPERATION: usize = 4;
/// `struct inet_diag_hostcond` without the address
const CONDITION: usize = 8;

/// More prefixes than this are matched here instead: a jump reaches 65,535 bytes, and the kernel
/// runs the whole program for every socket.
const MAX_PREFIXES: usize = 64;

/// A filter for sockets whose remote address is in one of `remotes`; empty (= every socket) if
/// there are too many. An IPv4 prefix also matches IPv4-mapped addresses of IPv6 sockets.
pub(super) fn remote_in(remotes: &[IpNet]) -> Vec<u8> {
    if remotes.len() > MAX_PREFIXES {
        return Vec::new();
    }
    let total: usize = remotes.iter().map(|prefix| size(prefix) + OPERATION).sum::<usize>()
        - if remotes.is_empty() { 0 } else { OPERATION };
    let mut program = Vec::with_capacity(total);
    for (number, prefix) in remotes.iter().enumerate() {
        let length = size(prefix);
        let is_last = number + 1 == remotes.len();
        // Match: the next operation (a jump to the end, or the end). Else: the next condition,
        // or past the end.
        let otherwise = length + OPERATION;
        operation(&mut program, REMOTE_ADDRESS, length as u8, otherwise as u16);
        condition(&mut program, prefix);
        if !is_last {
            let to_end = total - program.len();
            operation(&mut program, JUMP, OPERATION as u8, to_end as u16);
        }
    }
    program
}

/// A filter for sockets at one of these local ports; empty (= every socket) if there are too many.
pub(super) fn local_ports(ports: &[u16]) -> Vec<u8> {
    const LENGTH: usize = OPERATION + CONDITION;
    if ports.len() > MAX_PREFIXES {
        return Vec::new();
    }
    let total = (ports.len() * (LENGTH + OPERATION)).saturating_sub(OPERATION);
    let mut program = Vec::with_capacity(total);
    for (number, port) in ports.iter().enumerate() {
        operation(&mut program, LOCAL_ADDRESS, LENGTH as u8, (LENGTH + OPERATION) as u16);
        // Of any family, no address, this port.
        program.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
        program.extend(i32::from(*port).to_ne_bytes());
        if number + 1 < ports.len() {
            let to_end = total - program.len();
            operation(&mut program, JUMP, OPERATION as u8, to_end as u16);
        }
    }
    program
}

fn size(prefix: &IpNet) -> usize {
    OPERATION + CONDITION + if prefix.addr().is_ipv4() { 4 } else { 16 }
}

fn operation(program: &mut Vec<u8>, code: u8, yes: u8, no: u16) {
    program.extend([code, yes]);
    program.extend(no.to_ne_bytes());
}

/// `struct inet_diag_hostcond`: family, prefix length, port (-1 = any), address.
fn condition(program: &mut Vec<u8>, prefix: &IpNet) {
    let family = if prefix.addr().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    program.extend([family as u8, prefix.prefix_len(), 0, 0]);
    program.extend((-1i32).to_ne_bytes());
    match prefix.addr() {
        IpAddr::V4(address) => program.extend(address.octets()),
        IpAddr::V6(address) => program.extend(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_two_conditions_jumps_where_it_should() {
        let program =
            remote_in(&["192.0.2.1/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()]);
        // 16 bytes of condition, 4 of jump, 28 of condition.
        assert_eq!(program.len(), 48);
        assert_eq!(program[..4], [REMOTE_ADDRESS, 16, 20, 0]);
        assert_eq!(program[16..20], [JUMP, 4, 32, 0], "16 + 32 is the end");
        assert_eq!(program[20..24], [REMOTE_ADDRESS, 28, 32, 0], "20 + 32 is 4 past the end");
    }

    #[test]
    fn many_prefixes_are_not_for_the_kernel() {
        let many: Vec<IpNet> = (0..=MAX_PREFIXES as u32)
            .map(|n| IpNet::new(IpAddr::V4(n.into()), 32).unwrap())
            .collect();
        assert!(remote_in(&many).is_empty());
        assert!(!remote_in(&many[..MAX_PREFIXES]).is_empty());
    }
}
