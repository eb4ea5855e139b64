//! What the verifier needs the compiler not to be clever about.

use weir_common::abi::hello::{HELLO_CHUNK, HELLO_LEN};

/// Keeps a value as it was computed. `at + 1 > end` must not become `at >= end`: from that the
/// verifier learns nothing (`find_good_pkt_pointers`, kernel/bpf/verifier.c).
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: moves a register onto itself. It must be an instruction: two entries of line
        // information at one offset are refused (`check_btf_line`).
        unsafe {
            core::arch::asm!("{value} = {value}", value = inout(reg) value, options(nomem, nostack));
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}

/// Bounds of a copy to [`HELLO_ROOM`](weir_common::abi::hello::HELLO_ROOM) bytes: a place and a
/// length that the verifier knows to be within.
#[inline(always)]
pub(crate) fn chunk(to: u32, length: u32) -> Option<(usize, usize)> {
    let to = opaque(to as usize);
    let length = opaque(length as usize);
    if to > HELLO_LEN || length == 0 || length > HELLO_CHUNK {
        return None;
    }
    Some((to, length))
}
