//! Packets as XDP sees them: one linear part, and fragments behind it (jumbo frames, multi-buffer).
//!
//! Headers are read from the linear part: drivers and generic XDP put at least the first 2 KiB
//! there. What lies behind it is counted as truncated and passes.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use weir_common::{
    abi::{
        hello::HELLO_ROOM,
        synthetic::{Nonce, Question},
    },
    packet::{Heading, Link, Packet, PacketMut},
    pipeline::{self, Answer, Decision},
};

use crate::{
    log::fate,
    tables::{self, KernelTables},
    verifier,
};

/// Headers end long before this; the verifier wants a bound on variable offsets.
const MAX_OFFSET: usize = 0x3fff;

struct XdpPacket {
    ctx: XdpContext,
}

/// Runs the ingress stages.
#[inline(always)]
pub(crate) fn ingress(ctx: XdpContext, link: Link) -> u32 {
    let tables = KernelTables { ifindex: ctx.ingress_ifindex() as u32, heading: Heading::Ingress };
    let mut packet = XdpPacket { ctx };
    if packet.metadata().is_some() && is_synthetic(&packet) {
        let told = ask(&mut packet, &tables, link);
        tell(&mut packet, told);
        return told & 0xff;
    }
    let Some(scratch) = tables::scratch(Heading::Ingress) else {
        return XDP_PASS;
    };
    match pipeline::ingress(&mut packet, &tables, link, &mut scratch.work) {
        Decision::Pass => XDP_PASS,
        Decision::Drop => {
            fate!(&packet.ctx, "drop");
            XDP_DROP
        }
        Decision::Reply => XDP_TX,
    }
}

/// Whether a packet is the daemon's own: its metadata begins with the nonce. A function of its own, as
/// the other two are, because stacks of functions that call each other add up.
#[inline(never)]
fn is_synthetic(packet: &XdpPacket) -> bool {
    let (Some([a, b, c, d]), Some(at)) = (tables::nonce(), packet.metadata()) else {
        return false;
    };
    // SAFETY: `metadata` checked the bytes against the packet's beginning.
    let [e, f, g, h] = unsafe { ptr::read(at as *const Nonce) };
    (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
}

/// What becomes of it: the action in the lowest byte, then the answer's flags, then its class.
#[inline(never)]
fn ask(packet: &mut XdpPacket, tables: &KernelTables, link: Link) -> u32 {
    let Some(scratch) = tables::scratch(Heading::Ingress) else {
        return XDP_PASS;
    };
    let mut answer = Answer::default();
    let action = match pipeline::ask(packet, tables, link, &mut scratch.work, &mut answer) {
        Decision::Pass => XDP_PASS,
        Decision::Drop => XDP_DROP,
        Decision::Reply => XDP_TX,
    };
    action | answer.flags << 8 | answer.class << 16
}

/// Writes the answer behind the question. A reset has changed the packet, and with it where its
/// metadata may be reached.
#[inline(never)]
fn tell(packet: &mut XdpPacket, told: u32) {
    if let Some(at) = packet.metadata() {
        let question = at as *mut Question;
        // SAFETY: `metadata` checked the bytes, and XDP may write metadata.
        unsafe {
            ptr::write_volatile(&raw mut (*question).class, told >> 16);
            ptr::write_volatile(&raw mut (*question).flags, told >> 8 & 0xff);
        }
    }
}

impl XdpPacket {
    /// Where as much metadata lies as a question takes. Drivers without metadata put its beginning
    /// behind the packet's (`xdp_set_data_meta_invalid`, include/net/xdp.h), most others give none.
    #[inline(always)]
    fn metadata(&self) -> Option<usize> {
        let ctx: *const xdp_md = self.ctx.as_ptr().cast();
        // SAFETY: as in `linear`.
        let (meta, data) = unsafe {
            (
                ptr::read_volatile(&raw const (*ctx).data_meta),
                ptr::read_volatile(&raw const (*ctx).data),
            )
        };
        let at = meta as usize;
        if verifier::opaque(at + size_of::<Question>()) > data as usize { None } else { Some(at) }
    }

    /// Where `size` bytes at `offset` lie, if they are in the linear part.
    #[inline(always)]
    fn linear(&self, offset: u32, size: usize) -> Option<usize> {
        // The register that is compared must be the one that is added.
        let offset = verifier::opaque(offset as usize);
        if offset > MAX_OFFSET {
            return None;
        }
        let ctx: *const xdp_md = self.ctx.as_ptr().cast();
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

impl Packet for XdpPacket {
    const APPROXIMATE: bool = false;

    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.ctx.as_ptr().cast()) as u32 }
    }

    #[inline(always)]
    fn holds(&self, end: u32) -> bool {
        let linear = (self.ctx.data_end() - self.ctx.data()) as u32;
        end <= linear || end <= self.len()
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
            bpf_xdp_load_bytes(
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
            bpf_xdp_load_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                into.as_mut_ptr().add(to).cast(),
                length as u32,
            ) == 0
        }
    }
}

impl PacketMut for XdpPacket {
    #[inline(always)]
    fn store_half(&mut self, offset: u32, half: u16) -> bool {
        // SAFETY: `half` is two readable bytes.
        unsafe {
            bpf_xdp_store_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                ptr::from_ref(&half).cast_mut().cast(),
                2,
            ) == 0
        }
    }

    #[inline(always)]
    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool {
        // SAFETY: `words` is 4 * N readable bytes.
        unsafe {
            bpf_xdp_store_bytes(
                self.ctx.as_ptr().cast(),
                offset,
                words.as_ptr().cast_mut().cast(),
                4 * N as u32,
            ) == 0
        }
    }

    #[inline(always)]
    fn truncate(&mut self, len: u32) -> bool {
        let delta = len as i32 - self.len() as i32;
        // SAFETY: the context is the program's own; no packet pointer is used afterwards.
        unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) == 0 }
    }
}
