//! The pipeline in the kernel: the loaded programs over their maps, by test runs.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use weir_common::{
    abi::{
        Control, Guard, Tally, Verdict, VerdictClass,
        map::{self, MapSpec},
        synthetic::{Nonce, Question},
    },
    host::HelloRecord,
    packet::{Heading, Link},
    pipeline::Decision,
    tls::Seed,
};
use weir_sensor::{
    daemon::sensor::{Options, Sensor},
    enforce::dataplane::{Dataplane, ServiceName, ServicePort, Subject},
    event::Event,
    kernel::{Kernel, TestPacket, Variant},
    system::paths::Paths,
};

use super::{Engine, Fate, Hook, Place, Records, host::LOOPBACK, raw};
use crate::net::{Directory, LabId};

/// Length of an untagged Ethernet header.
const ETHERNET: usize = 14;

/// What fits a page beside the space that the kernel keeps before and behind a packet.
const LONGEST: usize = 3328;

/// What remembers conversations and sources; [`KernelEngine::forget`] empties it.
const MEMORIES: [MapSpec; 6] =
    [map::HANDSHAKES, map::QUIC_HANDSHAKES, map::FLOWS, map::OUTBOUND, map::SOURCES, map::BUCKETS];

/// The loaded programs, with maps of their own. Nothing stays pinned: all of it goes with the
/// process at the latest.
pub struct KernelEngine {
    kernel: Kernel,
    place: Place,
    control: OwnedFd,
    interfaces: OwnedFd,
    memories: Vec<OwnedFd>,
}

impl KernelEngine {
    /// Loads the programs, with the clock that [`Engine::set_now_ns`] sets.
    pub fn replaying(hook: Hook, link: Link) -> Result<Self> {
        Self::open(hook, link, Variant { replay: true, ..Variant::default() })
    }

    /// Loads the programs as the daemon does, with the kernel's clocks.
    pub fn live(hook: Hook, link: Link) -> Result<Self> {
        Self::open(hook, link, Variant::default())
    }

    /// Loads the programs as the daemon does, but for one thing: a hello that was read is awaited
    /// again.
    pub fn reading_again(hook: Hook, link: Link) -> Result<Self> {
        Self::open(hook, link, Variant { read_again: true, ..Variant::default() })
    }

    fn open(hook: Hook, link: Link, variant: Variant) -> Result<Self> {
        let directory = Directory::create(LabId::fresh()?)?;
        let paths = Paths {
            bpffs: directory.path().join("bpf"),
            state_dir: directory.path().join("state"),
            run_dir: directory.path().join("run"),
        };
        let options = Options { paths: paths.clone(), capacities: BTreeMap::new() };
        let kernel = Kernel::load(&options, variant)?;
        let open = |spec: &MapSpec| {
            let path = paths.map(spec.name);
            raw::open_pinned(&path).with_context(|| format!("cannot open {}", path.display()))
        };
        Ok(Self {
            kernel,
            place: Place { hook, link },
            control: open(&map::CONTROL)?,
            interfaces: open(&map::INTERFACES)?,
            memories: MEMORIES.iter().map(open).collect::<Result<_>>()?,
        })
    }

    /// Empties what remembers conversations and sources, and throws waiting events away.
    pub fn forget(&mut self) -> Result<()> {
        for memory in &self.memories {
            raw::clear(memory.as_fd()).context("cannot empty a map")?;
        }
        self.kernel.drain_events();
        self.kernel.drain_hellos();
        Ok(())
    }

    /// Every verdict on an address, hits included.
    pub fn verdicts(&self) -> Result<Vec<Verdict>> {
        let mut all = self.kernel.read_verdicts()?;
        all.sort_by_key(|(net, _)| *net);
        Ok(all.into_iter().map(|(_, verdict)| verdict).collect())
    }

    /// The daemon's view of the same tables.
    pub fn tables(&mut self) -> &mut impl Dataplane {
        &mut self.kernel
    }

    /// Runs the ingress program `repeat` times over one packet: what it returned last, and the mean
    /// duration of a run in ns.
    pub fn time(&mut self, packet: &[u8], repeat: u32) -> Result<(u32, u32)> {
        let packet = TestPacket { bytes: packet, ifindex: 0, metadata: &[], repeat };
        let result = self.kernel.test_run(self.program(Heading::Ingress), &packet)?;
        Ok((result.return_value, result.mean_ns))
    }

    /// Runs the XDP program over a packet with a question in its metadata, after `set` was put where
    /// the program looks for a nonce. What became of it, and the question as it came back.
    pub fn ask(
        &mut self,
        set: Nonce,
        question: &Question,
        packet: &[u8],
    ) -> Result<(Fate, Question)> {
        ensure!(self.place.hook == Hook::Xdp, "only XDP has metadata");
        self.kernel.set_nonce(&set)?;
        let words = |it: &Question| {
            let [a, b, c, d] = it.nonce;
            [a, b, c, d, it.class, it.flags]
        };
        let metadata: Vec<u8> =
            words(question).iter().flat_map(|word| word.to_ne_bytes()).collect();
        let test = TestPacket { bytes: packet, ifindex: 0, metadata: &metadata, repeat: 1 };
        let result = self.kernel.test_run(self.program(Heading::Ingress), &test)?;
        self.kernel.set_nonce(&Nonce::default())?;
        let (answer, packet) =
            result.packet.split_at_checked(metadata.len()).context("the metadata is gone")?;
        let mut back = [0; 6];
        for (word, bytes) in back.iter_mut().zip(answer.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into()?);
        }
        let [a, b, c, d, class, flags] = back;
        let decision = match result.return_value {
            1 => Decision::Drop,
            2 => Decision::Pass,
            3 => Decision::Reply,
            other => bail!("the program returned {other}"),
        };
        let fate = Fate { decision, mark: 0, packet: packet.to_vec() };
        Ok((fate, Question { nonce: [a, b, c, d], class, flags }))
    }

    fn program(&self, heading: Heading) -> &'static str {
        match (heading, self.place.hook, self.place.link) {
            (Heading::Egress, _, Link::Ethernet) => "weir_egress",
            (Heading::Egress, _, Link::None) => "weir_egress_l3",
            (Heading::Ingress, Hook::Tc, Link::Ethernet) => "weir_ingress_tc",
            (Heading::Ingress, Hook::Tc, Link::None) => "weir_ingress_tc_l3",
            (Heading::Ingress, _, Link::Ethernet) => "weir_ingress",
            (Heading::Ingress, _, Link::None) => "weir_ingress_l3",
        }
    }
}

impl Engine for KernelEngine {
    fn place(&self) -> Place {
        self.place
    }

    fn set_now_ns(&mut self, now_ns: u64) -> Result<()> {
        Ok(self.kernel.set_replay_clock_ns(now_ns)?)
    }

    fn set_killed(&mut self, on: bool) -> Result<()> {
        Ok(self.kernel.set_kill(on)?)
    }

    fn set_control(&mut self, control: &Control) -> Result<()> {
        // The daemon's code chooses a seed only where there is none.
        // SAFETY: the loader compared the map's shape with `Control`, which has no padding.
        unsafe { raw::update(self.control.as_fd(), 0, control) }
            .context("cannot write the settings")?;
        Ok(self.kernel.set_control(control)?)
    }

    fn pulse(&mut self, tick: u32) -> Result<()> {
        Ok(self.kernel.pulse(tick)?)
    }

    fn set_services(&mut self, ports: &[ServicePort]) -> Result<()> {
        Ok(self.kernel.set_services(ports)?)
    }

    fn set_guard(&mut self, service: u8, guard: Guard) -> Result<()> {
        Ok(self.kernel.set_guards(&[(service, guard)])?)
    }

    fn set_class(&mut self, id: u16, class: &VerdictClass) -> Result<()> {
        Ok(self.kernel.write_class(id, class)?)
    }

    fn set_verdict(&mut self, net: IpNet, verdict: Verdict) -> Result<()> {
        Ok(self.kernel.write_verdicts(&[(net.trunc(), verdict)])?)
    }

    fn remove_verdict(&mut self, net: IpNet) -> Result<()> {
        self.kernel.remove_verdicts(&[net.trunc()])?;
        Ok(())
    }

    fn set_subject(&mut self, subject: Subject, verdict: Verdict) -> Result<()> {
        Ok(self.kernel.write_subjects(&[(subject, verdict)])?)
    }

    fn remove_subject(&mut self, subject: Subject) -> Result<()> {
        self.kernel.remove_subjects(&[subject])?;
        Ok(())
    }

    fn set_names(&mut self, names: &[ServiceName]) -> Result<()> {
        Ok(self.kernel.set_names(names)?)
    }

    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<()> {
        Ok(self.kernel.set_proxies(proxies)?)
    }

    fn set_interface_flags(&mut self, flags: u32) -> Result<()> {
        // SAFETY: the map's values are u32.
        unsafe { raw::update(self.interfaces.as_fd(), LOOPBACK, &flags) }
            .context("cannot write the interface's flags")
    }

    fn key_seed(&self) -> Seed {
        self.kernel.key_seed()
    }

    /// XDP's packets must have an Ethernet header's length, and socket buffers must hold the IP
    /// header that the ethertype promises, and fit a page (`bpf_test_init` and
    /// `bpf_prog_test_run_skb`, net/bpf/test_run.c).
    fn takes(&self, heading: Heading, packet: &[u8]) -> bool {
        let is_xdp = heading == Heading::Ingress && self.place.hook == Hook::Xdp;
        let shortest = match packet.get(12..ETHERNET) {
            Some([0x08, 0x00]) if !is_xdp => ETHERNET + 20,
            Some([0x86, 0xdd]) if !is_xdp => ETHERNET + 40,
            _ => ETHERNET,
        };
        (shortest..=LONGEST).contains(&packet.len())
    }

    fn run(&mut self, heading: Heading, packet: &[u8]) -> Result<Fate> {
        let program = self.program(heading);
        let packet = TestPacket { bytes: packet, ifindex: 0, metadata: &[], repeat: 1 };
        let result = self.kernel.test_run(program, &packet)?;
        let is_xdp = heading == Heading::Ingress && self.place.hook == Hook::Xdp;
        let decision = match (is_xdp, result.return_value as i32) {
            // XDP_DROP, XDP_PASS, XDP_TX (include/uapi/linux/bpf.h)
            (true, 1) => Decision::Drop,
            (true, 2) => Decision::Pass,
            (true, 3) => Decision::Reply,
            // TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_REDIRECT (include/uapi/linux/pkt_cls.h)
            (false, -1) => Decision::Pass,
            (false, 2) => Decision::Drop,
            (false, 7) => Decision::Reply,
            (_, other) => bail!("{program} returned {other}, which none of its paths does"),
        };
        Ok(Fate { decision, mark: result.mark, packet: result.packet })
    }

    fn tally(&self) -> Result<Vec<Tally>> {
        Ok(self.kernel.tally()?)
    }

    fn take_events(&mut self) -> Result<Vec<Event>> {
        Ok(self.kernel.drain_events())
    }

    fn take_hellos(&mut self) -> Result<Vec<HelloRecord>> {
        Ok(self.kernel.drain_hellos())
    }

    fn records(&self) -> Result<Records> {
        Ok(Records {
            flows: self.kernel.dump_flows()?,
            sources: self.kernel.dump_sources()?,
            handshakes: self.kernel.dump_handshakes()?,
            outbound: self.kernel.dump_outbound()?,
        })
    }
}
