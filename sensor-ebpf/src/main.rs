//! Weir's kernel programs: entry points.
//!
//! Thin by design: the stages live in `weir_common::pipeline`, where the host tests them. Here
//! stand the maps ([`maps`]), the tables over them ([`tables`]), and packets as XDP and TC see them
//! ([`xdp`], [`tc`]). Each program exists for devices with and without an Ethernet header.
#![no_std]
#![no_main]
#![expect(
    missing_docs,
    unreachable_pub,
    reason = "aya's entry-point macros emit public functions without their documentation"
)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod atomic;
mod log;
mod maps;
mod tables;
mod tc;
mod verifier;
mod xdp;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use weir_common::packet::Link;

/// XDP ingress on devices with an Ethernet header.
#[xdp(frags)]
pub fn weir_ingress(ctx: XdpContext) -> u32 {
    xdp::ingress(ctx, Link::Ethernet)
}

/// XDP ingress on devices without a link-layer header.
#[xdp(frags)]
pub fn weir_ingress_l3(ctx: XdpContext) -> u32 {
    xdp::ingress(ctx, Link::None)
}

/// TC ingress, where XDP cannot attach.
#[classifier]
pub fn weir_ingress_tc(ctx: TcContext) -> i32 {
    tc::ingress(ctx, Link::Ethernet)
}

/// TC ingress on devices without a link-layer header.
#[classifier]
pub fn weir_ingress_tc_l3(ctx: TcContext) -> i32 {
    tc::ingress(ctx, Link::None)
}

/// TC egress.
#[classifier]
pub fn weir_egress(ctx: TcContext) -> i32 {
    tc::egress(ctx, Link::Ethernet)
}

/// TC egress on devices without a link-layer header.
#[classifier]
pub fn weir_egress_l3(ctx: TcContext) -> i32 {
    tc::egress(ctx, Link::None)
}

/// The kernel lends helpers such as the coarse clock to programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No path of the pipeline panics; the verifier would refuse the loop if one did.
    loop {}
}
