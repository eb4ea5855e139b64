//! The one atomic operation that limiters need.

/// Replaces `*cell` by `new` if it still holds `old`. `true`: it did.
///
/// Inline assembly, because the BPF target offers no compare-exchange through `core`
/// (Documentation/bpf/standardization/instruction-set.rst, atomic operations).
#[inline(always)]
pub(crate) fn compare_exchange(cell: &mut u64, old: u64, new: u64) -> bool {
    #[cfg(target_arch = "bpf")]
    {
        let seen: u64;
        // SAFETY: `cell` is an aligned u64 in a map value; cmpxchg reads and writes only it.
        unsafe {
            core::arch::asm!(
                "r0 = cmpxchg_64({cell} + 0, r0, {new})",
                cell = in(reg) core::ptr::from_mut(cell),
                new = in(reg) new,
                inout("r0") old => seen,
            );
        }
        seen == old
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let same = *cell == old;
        if same {
            *cell = new;
        }
        same
    }
}
