//! The kernel programs that this binary carries, and their loading.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Map, MapData, RingBuf},
    programs::{Program, ProgramFd},
};
use weir_common::abi::map::{self, MapSpec};

use super::{
    Variant,
    error::KernelError,
    pins::{self, Made, Pinned},
    upgrade::Takeover,
};

use crate::daemon::sensor::Options;

/// The BPF object; empty where it had not been built (see `build.rs`).
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir.bpf.o"));

/// The kernel's own type information.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Makes the maps that are not pinned yet, takes up those that are, and readies the programs.
pub(super) fn load(
    options: &Options,
    variant: Variant,
    takeover: &Takeover,
    made: &mut Made,
) -> Result<(Ebpf, Pinned), KernelError> {
    if OBJECT.is_empty() {
        return Err(KernelError::NoObject);
    }
    if !Path::new(BTF).exists() {
        return Err(KernelError::NoBtf);
    }
    let paths = &options.paths;
    pins::check(paths)?;
    made.folder(&paths.maps())?;
    made.folder(&paths.programs())?;
    made.folder(&paths.links())?;
    takeover.share(made)?;
    let mut loader = EbpfLoader::new();
    for spec in pins::specs() {
        let path = pins::map_path(paths, spec);
        if !path.exists() {
            made.file(path.clone());
        }
        loader.map_pin_path(spec.name, path);
        if spec.resizable
            && let Some(entries) = options.capacities.get(spec.name)
        {
            loader.map_max_entries(spec.name, *entries);
        }
        if *spec == map::HELLOS {
            loader.map_max_entries(spec.name, pins::entries(spec));
        }
    }
    let replay = u8::from(variant.replay);
    loader.override_global("REPLAY", &replay, true);
    let read_again = u8::from(variant.read_again);
    loader.override_global("READ_AGAIN", &read_again, true);
    #[cfg(feature = "bpf-log")]
    let log = u8::from(super::packet_log::wanted());
    #[cfg(feature = "bpf-log")]
    loader.override_global(super::packet_log::SWITCH, &log, false);
    let ebpf = loader.load(OBJECT)?;
    let pinned = open_maps(options)?;
    Ok((ebpf, pinned))
}

/// Opens the maps by their pins and compares them once more: between the first look and the
/// loader's, somebody may have put something else there.
fn open_maps(options: &Options) -> Result<Pinned, KernelError> {
    use std::os::fd::AsFd;
    let mut pinned = Pinned::default();
    for spec in pins::specs() {
        let path = pins::map_path(&options.paths, spec);
        let map = super::sys::open_pinned(&path).map_err(|source| KernelError::Pin {
            operation: "open",
            path: path.clone(),
            source,
        })?;
        pins::compare(&path, spec, map.as_fd())?;
        pinned.push(spec, map);
    }
    Ok(pinned)
}

/// A ring buffer; asked for once.
pub(super) fn take_ring(ebpf: &mut Ebpf, spec: &MapSpec) -> Option<RingBuf<MapData>> {
    match ebpf.take_map(spec.name)? {
        Map::RingBuf(data) => RingBuf::try_from(Map::RingBuf(data)).ok(),
        _ => None,
    }
}

/// Loads a program if it is not yet.
pub(super) fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut Program, KernelError> {
    let refuse = |source| KernelError::Program { program: name, source: Box::new(source) };
    let program = ebpf.program_mut(name).ok_or(KernelError::NoObject)?;
    if program.fd().is_err() {
        match program {
            Program::Xdp(xdp) => xdp.load().map_err(refuse)?,
            Program::SchedClassifier(classifier) => classifier.load().map_err(refuse)?,
            _ => return Err(KernelError::NoObject),
        }
    }
    Ok(program)
}

/// A program's descriptor, loading it if need be.
pub(super) fn descriptor<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a ProgramFd, KernelError> {
    program(ebpf, name)?
        .fd()
        .map_err(|source| KernelError::Program { program: name, source: Box::new(source) })
}
