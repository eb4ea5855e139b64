//! Attaching to an interface: egress first, so that no handshake is seen half; then ingress by
//! native XDP, else generic XDP, else TC.

use std::os::fd::AsFd;

use aya::Ebpf;

use super::{
    Variant, clsact,
    error::KernelError,
    link::{self, Hook, ProgramPin},
    object,
    pins::Made,
    sys,
};
use crate::{
    daemon::sensor::{self, Attachment, Preference},
    system::{
        interface::{Interface, XdpAttachment},
        kernel_version::{KernelVersion, TCX},
        paths::Paths,
    },
};

/// What attaching needs at hand.
pub(super) struct Attacher<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) paths: &'a Paths,
    pub(super) variant: Variant,
    pub(super) made: &'a mut Made,
    /// Interfaces that got a clsact filter from this process.
    pub(super) filtered: &'a mut Vec<Interface>,
}

/// The programs of an interface, by its link type.
struct Programs {
    xdp: &'static str,
    ingress: &'static str,
    egress: &'static str,
}

const ETHERNET: Programs =
    Programs { xdp: "weir_ingress", ingress: "weir_ingress_tc", egress: "weir_egress" };
const NO_LINK_LAYER: Programs =
    Programs { xdp: "weir_ingress_l3", ingress: "weir_ingress_tc_l3", egress: "weir_egress_l3" };

/// Every program's name.
pub(super) const PROGRAMS: [&str; 6] = [
    ETHERNET.xdp,
    ETHERNET.ingress,
    ETHERNET.egress,
    NO_LINK_LAYER.xdp,
    NO_LINK_LAYER.ingress,
    NO_LINK_LAYER.egress,
];

/// The names of an interface's programs: XDP ingress, TC ingress, egress.
pub(super) fn names(interface: &Interface) -> (&'static str, &'static str, &'static str) {
    let programs = if interface.is_ethernet() { &ETHERNET } else { &NO_LINK_LAYER };
    (programs.xdp, programs.ingress, programs.egress)
}

impl Attacher<'_> {
    /// Attaches both directions, or takes over.
    pub(super) fn attach(
        &mut self,
        name: &str,
        wanted: Preference,
    ) -> Result<Attachment, KernelError> {
        let interface = Interface::named(name)?;
        let programs = if interface.is_ethernet() { &ETHERNET } else { &NO_LINK_LAYER };
        let (egress, egress_taken) = self.tc(&interface, Hook::EGRESS, programs.egress)?;
        let ingress = self.ingress(&interface, programs, wanted)?;
        Ok(Attachment {
            interface: interface.name.clone(),
            index: interface.index,
            ingress: ingress.hook,
            egress,
            why: ingress.why,
            taken_over: ingress.taken_over || egress_taken,
        })
    }

    fn ingress(
        &mut self,
        interface: &Interface,
        programs: &Programs,
        wanted: Preference,
    ) -> Result<Ingress, KernelError> {
        if let Some(ingress) = self.take_over_ingress(interface, programs)? {
            return Ok(ingress);
        }
        if wanted != Preference::Tc
            && let Some(in_place) = &interface.xdp
        {
            return Err(KernelError::ForeignXdp {
                interface: interface.name.clone(),
                program_id: in_place.program_id,
            });
        }
        let mut refusals = Vec::new();
        if matches!(wanted, Preference::Auto | Preference::Xdp) {
            match self.xdp(interface, Hook::XDP_NATIVE, programs.xdp) {
                Ok(()) => {
                    return Ok(Ingress::new(sensor::Hook::XdpNative, "the driver runs XDP itself"));
                }
                Err(refusal) => {
                    refusals.push(refusal.or_fail(interface, wanted, Preference::Xdp)?)
                }
            }
        }
        if matches!(wanted, Preference::Auto | Preference::XdpGeneric) {
            match self.xdp(interface, Hook::XDP_GENERIC, programs.xdp) {
                Ok(()) => {
                    let why = refusals.pop().map_or_else(
                        || "generic XDP was asked for".to_owned(),
                        |why| format!("the driver refused native XDP: {why}"),
                    );
                    return Ok(Ingress { hook: sensor::Hook::XdpGeneric, why, taken_over: false });
                }
                Err(refusal) => {
                    refusals.push(refusal.or_fail(interface, wanted, Preference::XdpGeneric)?);
                }
            }
        }
        let (hook, taken_over) = self.tc(interface, Hook::INGRESS, programs.ingress)?;
        let why = if refusals.is_empty() {
            "TC was asked for".to_owned()
        } else {
            format!("XDP was refused: {}", refusals.join("; "))
        };
        Ok(Ingress { hook, why, taken_over })
    }

    /// An earlier run's ingress link keeps its kind: changing it would leave a gap.
    fn take_over_ingress(
        &mut self,
        interface: &Interface,
        programs: &Programs,
    ) -> Result<Option<Ingress>, KernelError> {
        let path = link::pin_path(self.paths, interface, Hook::XDP_NATIVE)?;
        let hook = match interface.xdp.as_ref().map(|it| it.attachment) {
            Some(XdpAttachment::Generic) => sensor::Hook::XdpGeneric,
            _ => sensor::Hook::XdpNative,
        };
        if self.replace(&path, interface, programs.xdp)? {
            return Ok(Some(Ingress::taken_over(hook)));
        }
        let path = link::pin_path(self.paths, interface, Hook::INGRESS)?;
        if self.replace(&path, interface, programs.ingress)? {
            return Ok(Some(Ingress::taken_over(sensor::Hook::Tcx)));
        }
        Ok(None)
    }

    fn xdp(
        &mut self,
        interface: &Interface,
        hook: Hook,
        name: &'static str,
    ) -> Result<(), Refusal> {
        let path = link::pin_path(self.paths, interface, hook)?;
        let pin = ProgramPin::new(self.paths, name);
        let fd = object::descriptor(self.ebpf, name)?;
        pin.announce(fd.as_fd(), self.made)?;
        link::create(&path, fd.as_fd(), interface, hook, self.made).map_err(Refusal::Hook)
    }

    /// Attaches a classifier: as a link where the kernel has them, else as a filter.
    fn tc(
        &mut self,
        interface: &Interface,
        hook: Hook,
        name: &'static str,
    ) -> Result<(sensor::Hook, bool), KernelError> {
        let has_tcx = KernelVersion::running().is_some_and(|version| version.at_least(TCX));
        if !has_tcx || self.variant.clsact {
            let taken_over = clsact::attach(self, interface, hook, name)?;
            return Ok((sensor::Hook::Clsact, taken_over));
        }
        let path = link::pin_path(self.paths, interface, hook)?;
        if self.replace(&path, interface, name)? {
            return Ok((sensor::Hook::Tcx, true));
        }
        let pin = ProgramPin::new(self.paths, name);
        let fd = object::descriptor(self.ebpf, name)?;
        pin.announce(fd.as_fd(), self.made)?;
        link::create(&path, fd.as_fd(), interface, hook, self.made).map_err(|source| {
            KernelError::Attach {
                interface: interface.name.clone(),
                hook: hook.name,
                source,
                advice: "",
            }
        })?;
        Ok((sensor::Hook::Tcx, false))
    }

    /// Puts our program in the place of an earlier run's. `false`: there is no such link.
    fn replace(
        &mut self,
        path: &std::path::Path,
        interface: &Interface,
        name: &'static str,
    ) -> Result<bool, KernelError> {
        let Some((link, running)) = link::existing(path)? else {
            return Ok(false);
        };
        let pin = ProgramPin::new(self.paths, name);
        let fd = object::descriptor(self.ebpf, name)?;
        let (ours, _) = sys::program_identity(fd.as_fd())
            .map_err(|source| KernelError::System { what: "a loaded program's id", source })?;
        if running != ours {
            pin.announce(fd.as_fd(), self.made)?;
            let replaced =
                link::take_over(link.as_fd(), path, running, fd.as_fd(), &pin, interface)?;
            self.made.replaced(replaced);
        }
        Ok(true)
    }
}

/// Everything is attached: loaded programs take their plain names.
pub(super) fn settle(ebpf: &Ebpf, paths: &Paths) -> Result<(), KernelError> {
    let in_use = link::in_use(paths);
    for name in PROGRAMS {
        let Some(program) = ebpf.program(name).and_then(|it| it.fd().ok()) else {
            continue;
        };
        ProgramPin::new(paths, name).settle(program.as_fd(), &in_use)?;
    }
    Ok(())
}

/// Where ingress went, and why.
struct Ingress {
    hook: sensor::Hook,
    why: String,
    taken_over: bool,
}

impl Ingress {
    fn new(hook: sensor::Hook, why: &str) -> Self {
        Self { hook, why: why.to_owned(), taken_over: false }
    }

    fn taken_over(hook: sensor::Hook) -> Self {
        Self { hook, why: "as an earlier run had left it".to_owned(), taken_over: true }
    }
}

/// Why an XDP hook could not be had.
enum Refusal {
    /// The hook itself refused.
    Hook(std::io::Error),
    /// Anything else ends the attempt.
    Other(KernelError),
}

impl From<KernelError> for Refusal {
    fn from(error: KernelError) -> Self {
        Self::Other(error)
    }
}

impl Refusal {
    /// The reason to go on to the next hook with, or the error to end with.
    fn or_fail(
        self,
        interface: &Interface,
        wanted: Preference,
        tried: Preference,
    ) -> Result<String, KernelError> {
        let source = match self {
            Self::Other(error) => return Err(error),
            Self::Hook(source) => source,
        };
        if source.raw_os_error() == Some(libc::EBUSY) {
            return Err(KernelError::ForeignXdp {
                interface: interface.name.clone(),
                program_id: 0,
            });
        }
        if wanted == tried || !sys::is_unsupported(&source) {
            let hook = if tried == Preference::Xdp { "native XDP" } else { "generic XDP" };
            let advice =
                if wanted == tried { "; --mode auto takes the next best hook" } else { "" };
            return Err(KernelError::Attach {
                interface: interface.name.clone(),
                hook,
                source,
                advice,
            });
        }
        Ok(source.to_string())
    }
}
