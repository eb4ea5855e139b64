//! Whether Weir is where it should be. Where its link was detached, or an interface came back, it is
//! attached again; where somebody else's program is, it is left there and said so.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use super::{
    super::{
        Kernel, attach,
        error::KernelError,
        link::{self, Hook},
        object, sys,
    },
    pinned,
};
use crate::{
    daemon::{
        audited::Inspection,
        sensor::{self, Attachment, Preference, Sensor as _},
    },
    enforce::audit::{Fault, Finding, Outcome},
    system::{interface::Interface, received::received, traffic_control},
};

/// An interface that Weir is to be on.
#[derive(Debug)]
pub(in crate::kernel) struct Watched {
    pub(super) attachment: Attachment,
    pub(super) is_ethernet: bool,
    preference: Preference,
    ingress: Place,
    egress: Place,
}

/// A hook with a program of ours on it.
#[derive(Debug)]
struct Place {
    direction: &'static str,
    program: &'static str,
    /// A link, and where it is pinned; `None`: a filter.
    link: Option<(PathBuf, OwnedFd)>,
}

/// How a hook is.
enum State {
    Ours,
    /// Nothing of ours is there.
    Off,
    /// A program of this id is in our place.
    Foreign(u32),
}

impl Kernel {
    /// Watches over an interface from now on.
    pub(in crate::kernel) fn watch(
        &mut self,
        interface: &Interface,
        attachment: &Attachment,
        preference: Preference,
    ) -> Result<(), KernelError> {
        let is_ethernet = interface.is_ethernet();
        let (xdp, ingress_tc, egress) = attach::names(interface);
        let (hook, program) = match attachment.ingress {
            sensor::Hook::XdpNative | sensor::Hook::XdpGeneric => (Hook::XDP_NATIVE, xdp),
            sensor::Hook::Tcx | sensor::Hook::Clsact => (Hook::INGRESS, ingress_tc),
        };
        let watched = Watched {
            attachment: attachment.clone(),
            is_ethernet,
            preference,
            ingress: Place {
                direction: "ingress",
                program,
                link: self.link_of(interface, hook, attachment.ingress)?,
            },
            egress: Place {
                direction: "egress",
                program: egress,
                link: self.link_of(interface, Hook::EGRESS, attachment.egress)?,
            },
        };
        let all = &mut self.auditor.watched;
        match all.iter_mut().find(|it| it.attachment.interface == attachment.interface) {
            Some(before) => *before = watched,
            None => all.push(watched),
        }
        Ok(())
    }

    fn link_of(
        &self,
        interface: &Interface,
        hook: Hook,
        kind: sensor::Hook,
    ) -> Result<Option<(PathBuf, OwnedFd)>, KernelError> {
        if kind == sensor::Hook::Clsact {
            return Ok(None);
        }
        let path = link::pin_path(&self.paths, interface, hook)?;
        Ok(link::existing(&path)?.map(|(link, _)| (path, link)))
    }

    /// Looks at every interface.
    pub(super) fn inspect_attachments(&mut self, inspection: &mut Inspection) {
        for index in 0..self.auditor.watched.len() {
            if self.inspect_interface(index, &mut inspection.findings) {
                inspection.attached += 1;
            }
        }
        let watched = self.auditor.watched.iter();
        inspection.attachments = watched.map(|it| it.attachment.clone()).collect();
    }

    /// Looks at one. Returns whether both programs are on it, by now.
    fn inspect_interface(&mut self, index: usize, findings: &mut Vec<Finding>) -> bool {
        let Some(watched) = self.auditor.watched.get(index) else { return false };
        let name = watched.attachment.interface.clone();
        let alarm = |fault, text: String| Finding::new(fault, &*name, Outcome::Alarm).saying(text);
        let there = match received(&name) {
            Ok(Some(there)) => there,
            Ok(None) => {
                let text = "there is no such interface; Weir attaches again when it comes back";
                findings.push(alarm(Fault::InterfaceGone, text.into()));
                return false;
            }
            Err(error) => {
                findings.push(alarm(Fault::Unreadable, error.to_string()));
                return false;
            }
        };
        let is_same = there.index == watched.attachment.index;
        if is_same {
            // First: without its pin a link would be taken for a stranger's.
            self.look_at_links(index, findings);
        }
        let Some(watched) = self.auditor.watched.get(index) else { return false };
        let states = [&watched.ingress, &watched.egress].map(|place| {
            let state = if is_same { self.state(place, there.index) } else { Ok(State::Off) };
            (place.direction, state)
        });
        let mut is_off = false;
        let mut is_well = true;
        for (direction, state) in states {
            match state {
                Ok(State::Ours) => {}
                Ok(State::Off) => is_off = true,
                Ok(State::Foreign(id)) => {
                    is_well = false;
                    let text = format!(
                        "program {id} runs in the place of Weir's {direction} program and is left \
                         there: detach it, and Weir attaches again"
                    );
                    findings.push(alarm(Fault::ForeignProgram, text));
                }
                Err(error) => {
                    is_well = false;
                    findings.push(alarm(Fault::Unreadable, error));
                }
            }
        }
        if is_off {
            is_well &= self.attach_again(index, findings);
        }
        is_well
    }

    fn state(&self, place: &Place, ifindex: u32) -> Result<State, String> {
        let program = self.ebpf.program(place.program).and_then(|it| it.fd().ok());
        let Some(program) = program else { return Ok(State::Off) };
        let (ours, _) =
            sys::program_identity(program.as_fd()).map_err(|error| error.to_string())?;
        let Some((_, link)) = &place.link else {
            return filter_state(place, ifindex, ours);
        };
        let state = sys::link_state(link.as_fd()).map_err(|error| error.to_string())?;
        Ok(match state {
            it if it.ifindex != ifindex => State::Off,
            it if it.program_id != ours => State::Foreign(it.program_id),
            _ => State::Ours,
        })
    }

    fn attach_again(&mut self, index: usize, findings: &mut Vec<Finding>) -> bool {
        let Some(watched) = self.auditor.watched.get(index) else { return false };
        let (name, preference) = (watched.attachment.interface.clone(), watched.preference);
        for (path, link) in
            [&watched.ingress, &watched.egress].into_iter().filter_map(|it| it.link.as_ref())
        {
            if sys::link_state(link.as_fd()).is_ok_and(|state| state.ifindex == 0) {
                // Gone is as good as removed; anything else is told by the attempt that follows.
                let _ = fs::remove_file(path);
            }
        }
        let folders = [self.paths.links(), self.paths.programs()];
        for folder in folders {
            let _ = fs::create_dir_all(folder);
        }
        match self.attach(&name, preference) {
            Ok(attachment) => {
                if let Err(error) = attach::settle(&self.ebpf, &self.paths) {
                    tracing::warn!("{error}");
                }
                let text = format!(
                    "attached again: {} in, {} out",
                    attachment.ingress.name(),
                    attachment.egress.name()
                );
                findings.push(Finding::new(Fault::Detached, name, Outcome::Repaired).saying(text));
                true
            }
            Err(error) => {
                let fault = match error {
                    KernelError::ForeignXdp { .. } | KernelError::ForeignProgram { .. } => {
                        Fault::ForeignProgram
                    }
                    _ => Fault::Detached,
                };
                findings.push(Finding::new(fault, name, Outcome::Alarm).saying(error.to_string()));
                false
            }
        }
    }

    /// The pins of an interface's links.
    fn look_at_links(&self, index: usize, findings: &mut Vec<Finding>) {
        let Some(watched) = self.auditor.watched.get(index) else { return };
        for (path, link) in
            [&watched.ingress, &watched.egress].into_iter().filter_map(|it| it.link.as_ref())
        {
            let Ok(ours) = sys::link_state(link.as_fd()) else { continue };
            findings.extend(pinned::look(path, link.as_fd(), |found| {
                sys::link_state(found).is_ok_and(|it| it == ours)
            }));
        }
    }

    /// The program that is on an interface's way in.
    pub(super) fn ingress_program(
        &mut self,
        attachment: &Attachment,
    ) -> Option<&aya::programs::ProgramFd> {
        let watched = self.auditor.watched.iter();
        let name = watched
            .filter(|it| it.attachment.interface == attachment.interface)
            .map(|it| it.ingress.program)
            .next()?;
        object::descriptor(&mut self.ebpf, name).ok()
    }
}

/// Filters of a clsact qdisc have names and ids.
fn filter_state(place: &Place, ifindex: u32, ours: u32) -> Result<State, String> {
    let filters = traffic_control::programs(ifindex).map_err(|error| error.to_string())?;
    let mut here =
        filters.iter().filter(|it| it.attachment == "clsact" && it.direction == place.direction);
    if here.any(|it| it.id == ours) {
        return Ok(State::Ours);
    }
    Ok(State::Off)
}
