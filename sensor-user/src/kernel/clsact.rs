//! TC below kernel 6.6: filters of a clsact qdisc, at a priority and handle of our own, so that a
//! later run replaces exactly them.

use std::os::fd::AsFd;

use aya::programs::{
    Program, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use super::{
    attach::{Attacher, PROGRAMS},
    error::KernelError,
    link::{Hook, ProgramPin},
    object,
    sys::AttachType,
};
use crate::system::{
    interface::Interface,
    traffic_control::{self, TcProgram},
};

/// Before filters of no stated priority, which begin at 49152.
const PRIORITY: u16 = 0x5745;
const HANDLE: TcHandle = TcHandle::new(0, 0x5745);

const fn direction(hook: Hook) -> TcAttachType {
    match hook.attach {
        AttachType::TcxIngress => TcAttachType::Ingress,
        AttachType::TcxEgress | AttachType::Xdp => TcAttachType::Egress,
    }
}

/// Attaches a classifier, or replaces an earlier run's. `true`: there was one.
pub(super) fn attach(
    attacher: &mut Attacher<'_>,
    interface: &Interface,
    hook: Hook,
    name: &'static str,
) -> Result<bool, KernelError> {
    let fail = |source: Box<dyn std::error::Error + Send + Sync>| KernelError::Clsact {
        interface: interface.name.clone(),
        source,
    };
    match tc::qdisc_add_clsact(&interface.name) {
        Ok(()) => {}
        // There is one already, a neighbour's or an earlier run's.
        Err(error) if is_exists(&error) => {}
        Err(error) => return Err(fail(error.into())),
    }
    let fd = object::descriptor(attacher.ebpf, name)?;
    ProgramPin::new(attacher.paths, name).announce(fd.as_fd(), attacher.made)?;
    let Program::SchedClassifier(program) = object::program(attacher.ebpf, name)? else {
        return Err(KernelError::NoObject);
    };
    let attach_type = direction(hook);
    let there = traffic_control::programs(interface.index)
        .map_err(|source| KernelError::System { what: "traffic control filters", source })?
        .iter()
        .any(|it| is_ours(it, name) && it.direction == word(attach_type));
    let id = if there {
        let old =
            SchedClassifierLink::attached(&interface.name, attach_type, PRIORITY, HANDLE, None)
                .map_err(|error| fail(error.into()))?;
        program.attach_to_link(old).map_err(|error| fail(error.into()))?
    } else {
        let options = NlOptions { priority: PRIORITY, handle: HANDLE, ..NlOptions::default() };
        let id = program
            .attach_with_options(&interface.name, attach_type, TcAttachOptions::Netlink(options))
            .map_err(|error| fail(error.into()))?;
        attacher.filtered.push(interface.clone());
        id
    };
    // The filter must outlive this process.
    let link = program.take_link(id).map_err(|error| fail(error.into()))?;
    std::mem::forget(link);
    Ok(there)
}

const fn word(attach_type: TcAttachType) -> &'static str {
    if matches!(attach_type, TcAttachType::Ingress) { "ingress" } else { "egress" }
}

/// Whether a filter runs a program of this name.
fn is_ours(program: &TcProgram, name: &str) -> bool {
    program.attachment == "clsact" && program.name.as_deref() == Some(name)
}

fn is_exists(error: &TcError) -> bool {
    error.to_string().contains("already attached") || chain_has_exists(error)
}

fn chain_has_exists(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::AlreadyExists
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Removes our filters from an interface, and its clsact qdisc if nothing else hangs there.
/// Returns what was removed.
pub(super) fn detach(interface: &Interface) -> Result<Vec<String>, KernelError> {
    let system = |source| KernelError::System { what: "traffic control filters", source };
    let mut removed = Vec::new();
    for program in traffic_control::programs(interface.index).map_err(system)? {
        let Some(name) = PROGRAMS.into_iter().find(|name| is_ours(&program, name)) else {
            continue;
        };
        let attach_type = if program.direction == "ingress" {
            TcAttachType::Ingress
        } else {
            TcAttachType::Egress
        };
        tc::qdisc_detach_program(&interface.name, attach_type, name).map_err(|error| {
            KernelError::Clsact { interface: interface.name.clone(), source: error.into() }
        })?;
        removed.push(format!("{} clsact {}", interface.name, program.direction));
    }
    let rest = traffic_control::programs(interface.index).map_err(system)?;
    if !removed.is_empty() && !rest.iter().any(|it| it.attachment == "clsact") {
        traffic_control::remove_clsact(interface.index).map_err(system)?;
        removed.push(format!("{} clsact qdisc", interface.name));
    }
    Ok(removed)
}
