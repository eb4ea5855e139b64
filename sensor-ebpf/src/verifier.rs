//! What the verifier needs the compiler not to be clever about.

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
