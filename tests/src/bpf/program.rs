//! Programs that are not Weir's, to be measured next to it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result};

use super::raw;

/// `BPF_PROG_TYPE_XDP` of `enum bpf_prog_type`.
const XDP: u32 = 6;

/// `r0 = 1` (`XDP_DROP`); `exit`.
const DROP_ALL: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];

/// A loaded XDP program.
#[derive(Debug)]
pub struct Program {
    descriptor: OwnedFd,
}

impl Program {
    /// The smallest program that drops everything.
    pub fn drop_all() -> Result<Self> {
        let descriptor =
            raw::load(XDP, &DROP_ALL).context("cannot load a program that drops everything")?;
        Ok(Self { descriptor })
    }

    /// The program of this name that was loaded last. Names count up to the 15th byte.
    pub fn by_name(name: &str) -> Result<Option<Self>> {
        let wanted = name.get(..15).unwrap_or(name);
        let mut found = None;
        let mut id = 0;
        while let Some(next) = raw::next_program(id).context("cannot list programs")? {
            id = next;
            match raw::program_by_id(id) {
                Ok(descriptor) => {
                    if raw::program_name(descriptor.as_fd())? == wanted {
                        found = Some(Self { descriptor });
                    }
                }
                // It went between the listing and the opening.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error).context("cannot open a program by its id"),
            }
        }
        Ok(found)
    }

    /// Runs it `repeat` times over one packet: what it returned last, and the mean duration of a
    /// run in ns.
    pub fn test_run(&self, packet: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
        raw::test_run(self.descriptor.as_fd(), packet, repeat)
    }
}
