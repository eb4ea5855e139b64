//! Packets as TC sees them: socket buffers, with super-packets on both sides (GRO, GSO).

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT},
    helpers::{
        bpf_redirect, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_pull_data,
        bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use weir_common::{
    abi::hello::HELLO_ROOM,
    packet::{Heading, Link, Packet, PacketMut},
    pipeline::{self, Decision},
};

use crate::{
    log::fate,
    tables::{self, KernelTables},
    verifier,
};

/// Go on with the next program: `TCX_NEXT`, which is `TC_ACT_UNSPEC`. `TC_ACT_OK` would end the
/// chain and skip a neighbour's programs.
const NEXT: i32 = -1;

/// Headers end long before this; the verifier wants a bound on variable offsets.
const MAX_OFFSET: usize = 0x3fff;

/// Bytes that are made linear before parsing: Ethernet, two tags, IPv6 with a chain of extension
/// headers, TCP with options. Some drivers leave only the link-layer header there.
const LINEAR: u32 = 256;

struct TcPacket {
    ctx: TcContext,
}

impl TcPacket {
    #[inline(always)]
    fn new(ctx: TcContext) -> Self {
        let packet = Self { ctx };
        let linear = (packet.ctx.data_end() - packet.ctx.data()) as u32;
        let len = packet.buffer().len;
        if linear < LINEAR && linear < len {
            let want = if len < LINEAR { len } else { LINEAR };
            // SAFETY: the context is the program's own, and no packet pointer exists yet. Where
            // it fails, the reads behind the linear part fail too, and the packet passes.
            unsafe { bpf_skb_pull_data(packet.ctx.as_ptr().cast(), want) };
        }
        packet
    }
}

/// Runs the ingress stages.
#[inline(always)]
pub(crate) fn ingress(ctx: TcContext, link: Link) -> i32 {
    let mut packet = TcPacket::new(ctx);
    let ifindex = packet.buffer().ifindex;
    let tables = KernelTables { ifindex, heading: Heading::Ingress };
    let Some(scratch) = tables::scratch(Heading::Ingress) else {
        return NEXT;
    };
    match pipeline::ingress(&mut packet, &tables, link, &mut scratch.work) {
        Decision::Pass => NEXT,
        Decision::Drop => {
            fate!(&packet.ctx, "drop");
            TC_ACT_SHOT
        }
        // SAFETY: the helper has no preconditions; out of the interface it came in by.
        Decision::Reply => unsafe { bpf_redirect(ifindex, 0) as i32 },
    }
}

/// Runs the egress stages. Nothing is ever held back on the way out.
#[inline(always)]
pub(crate) fn egress(ctx: TcContext, link: Link) -> i32 {
    let packet = TcPacket::new(ctx);
    let tables = KernelTables { ifindex: packet.buffer().ifindex, heading: Heading::Egress };
    if let Some(scratch) = tables::scratch(Heading::Egress) {
        pipeline::egress(&packet, &tables, link, &mut scratch.work);
    }
    NEXT
}

impl TcPacket {
    #[inline(always)]
    fn buffer(&self) -> &__sk_buff {
        // SAFETY: the context of a classifier is an __sk_buff for as long as the program runs.
        unsafe { &*self.ctx.as_ptr().cast() }
    }

    /// Where `size` bytes at `offset` lie, if they are in the linear part.
    #[inline(always)]
    fn linear(&self, offset: u32, size: usize) -> Option<usize> {
        // The register that is compared must be the one that is added.
        let offset = verifier::opaque(offset as usize);
        if offset > MAX_OFFSET {
            return None;
        }
        let ctx: *const __sk_buff = self.ctx.as_ptr().cast();
        // SAFETY: the context is the program's own. The verifier makes packet pointers of these
        // fields as they are read; a copy of one that is widened again it takes for a number.
        let (data, data_end) = unsafe {
            (
                ptr::read_volatile(&raw const (*ctx).data),
                ptr::read_volatile(&raw const (*ctx).data_end),
            )
        };
        let at = data as usize + offset;
        if verifier::opaque(at + size) > data_end as usize { None } else { Some(at) }
    }
}

impl Packet for TcPacket {
    const APPROXIMATE: bool = true;

    #[inline(always)]
    fn len(&self) -> u32 {
        self.buffer().len
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        let segments = self.buffer().gso_segs;
        if segments == 0 { 1 } else { segments }
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        let buffer = self.buffer();
        if buffer.wire_len > buffer.len { buffer.wire_len } else { buffer.len }
    }

    #[inline(always)]
    fn byte(&self, offset: u32) -> Option<u8> {
        let at = self.linear(offset, 1)?;
        // SAFETY: `linear` checked the byte against data_end.
        Some(unsafe { ptr::read(at as *const u8) })
    }

    #[inline(always)]
    fn half(&self, offset: u32) -> Option<u16> {
        let at = self.linear(offset, 2)?;
        // SAFETY: `linear` checked the bytes; the architectures that run BPF programs on packets
        // load misaligned, and the verifier allows it there.
        Some(unsafe { ptr::read(at as *const u16) })
    }

    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        // SAFETY: `bytes` has room for `N` bytes.
        let status = unsafe {
            bpf_skb_load_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
            )
        };
        if status == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let at = self.linear(offset, 4 * N)?;
        // SAFETY: as in `half`.
        Some(unsafe { ptr::read(at as *const [u32; N]) })
    }

    #[inline(always)]
    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool {
        let Some((to, length)) = verifier::chunk(to, length) else {
            return false;
        };
        // SAFETY: `chunk` keeps the `length` bytes from `to` within `into`.
        unsafe {
            bpf_skb_load_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                into.as_mut_ptr().add(to).cast(),
                length as u32,
            ) == 0
        }
    }
}

impl PacketMut for TcPacket {
    #[inline(always)]
    fn mark(&mut self, bits: u32) {
        let ctx: *mut __sk_buff = self.ctx.as_ptr().cast();
        // SAFETY: the context is the program's own, and a classifier may write its mark.
        unsafe {
            let mark = ptr::read_volatile(&raw const (*ctx).mark);
            ptr::write_volatile(&raw mut (*ctx).mark, mark | bits);
        }
    }

    #[inline(always)]
    fn store_half(&mut self, offset: u32, half: u16) -> bool {
        // SAFETY: `half` is two readable bytes.
        unsafe {
            bpf_skb_store_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                ptr::from_ref(&half).cast(),
                2,
                u64::from(BPF_F_RECOMPUTE_CSUM),
            ) == 0
        }
    }

    #[inline(always)]
    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool {
        // SAFETY: `words` is 4 * N readable bytes.
        unsafe {
            bpf_skb_store_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                words.as_ptr().cast(),
                4 * N as u32,
                u64::from(BPF_F_RECOMPUTE_CSUM),
            ) == 0
        }
    }

    #[inline(always)]
    fn truncate(&mut self, len: u32) -> bool {
        // SAFETY: the context is the program's own; no packet pointer is used afterwards.
        unsafe { bpf_skb_change_tail(self.ctx.as_ptr().cast(), len, 0) == 0 }
    }
}
