//! Test runs over the loaded programs, with a clock that stands where it is put.

use std::os::fd::AsFd;

use weir_common::{
    abi::{Flow, FlowKey, Handshake, Outbound, Source, SourceKey},
    host::HelloRecord,
};

use super::{Kernel, attach::PROGRAMS, error::KernelError, object, ring, sys, sys::TestRunResult};
use crate::{enforce::dataplane::DataplaneError, event::Event};

/// Words of `struct xdp_md`.
const XDP_MD: usize = 6;
/// Where it says where the packet begins,
const XDP_MD_DATA: usize = 0;
/// how long it is, and what interface it is on.
const XDP_MD_DATA_END: usize = 1;
const XDP_MD_IFINDEX: usize = 3;
/// Words of `struct __sk_buff` up to and including `gso_size`.
const SK_BUFF: usize = 46;
/// Where it says what interface the packet is on.
const SK_BUFF_IFINDEX: usize = 10;
/// Where it holds the packet's mark.
const SK_BUFF_MARK: usize = 2;

/// A packet for a test run.
#[derive(Clone, Copy, Debug)]
pub struct TestPacket<'a> {
    /// The frame.
    pub bytes: &'a [u8],
    /// Interface that it seems to be on; 0 leaves the kernel's default.
    pub ifindex: u32,
    /// What stands before the frame in its metadata: whole words, for XDP only.
    pub metadata: &'a [u8],
    /// How often the program runs over it.
    pub repeat: u32,
}

impl Kernel {
    /// Runs a program over a packet without an interface (`BPF_PROG_TEST_RUN`).
    pub fn test_run(
        &mut self,
        program: &str,
        packet: &TestPacket<'_>,
    ) -> Result<TestRunResult, KernelError> {
        let name = PROGRAMS.into_iter().find(|it| *it == program).ok_or(KernelError::NoObject)?;
        let is_xdp = matches!(name, "weir_ingress" | "weir_ingress_l3");
        let mut context = Vec::new();
        if packet.ifindex != 0 || !packet.metadata.is_empty() || !is_xdp {
            context.resize(if is_xdp { XDP_MD } else { SK_BUFF }, 0);
            let fields = if is_xdp {
                let end = packet.metadata.len() + packet.bytes.len();
                [
                    (XDP_MD_DATA, packet.metadata.len() as u32),
                    (XDP_MD_DATA_END, end as u32),
                    (XDP_MD_IFINDEX, packet.ifindex),
                ]
            } else {
                [(SK_BUFF_IFINDEX, packet.ifindex); 3]
            };
            for (index, value) in fields {
                if let Some(word) = context.get_mut(index) {
                    *word = value;
                }
            }
        }
        let fd = object::descriptor(&mut self.ebpf, name)?;
        let run = sys::TestRun {
            packet: &[packet.metadata, packet.bytes].concat(),
            context: &context,
            mark_at: (!is_xdp).then_some(SK_BUFF_MARK),
            repeat: packet.repeat,
        };
        sys::test_run(fd.as_fd(), &run)
            .map_err(|source| KernelError::System { what: "the result of a test run", source })
    }

    /// Puts the replay clock; seen only by programs loaded with `replay`.
    pub fn set_replay_clock_ns(&self, now_ns: u64) -> Result<(), DataplaneError> {
        self.tables.replay_clock.put(&0, &now_ns)
    }

    /// Takes the events that are waiting, without waiting for more. Empty once
    /// [`crate::daemon::sensor::Sensor::events`] has taken the ring buffer.
    pub fn drain_events(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        if let Some(ring) = &mut self.rings.events {
            while ring::drain(ring, &mut batch).0 > 0 {}
        }
        batch
    }

    /// Takes the ClientHellos that are waiting, without waiting for more. Empty once
    /// [`crate::daemon::sensor::Sensor::hellos`] has taken the ring buffer.
    pub fn drain_hellos(&mut self) -> Vec<HelloRecord> {
        let mut batch = Vec::new();
        if let Some(ring) = &mut self.rings.hellos {
            while ring::drain(ring, &mut batch).0 > 0 {}
        }
        batch
    }

    /// Every proven flow, in no order.
    pub fn dump_flows(&self) -> Result<Vec<(FlowKey, Flow)>, DataplaneError> {
        self.tables.flows.dump()
    }

    /// Every proven source, in no order.
    pub fn dump_sources(&self) -> Result<Vec<(SourceKey, Source)>, DataplaneError> {
        self.tables.sources.dump()
    }

    /// Every half-open connection, in no order.
    pub fn dump_handshakes(&self) -> Result<Vec<(FlowKey, Handshake)>, DataplaneError> {
        self.tables.handshakes.dump()
    }

    /// Every flow that this host opened, in no order.
    pub fn dump_outbound(&self) -> Result<Vec<(FlowKey, Outbound)>, DataplaneError> {
        self.tables.outbound.dump()
    }
}
