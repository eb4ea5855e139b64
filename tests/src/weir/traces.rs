//! What stands in the kernel because somebody put it there: pins, programs on interfaces, queueing
//! disciplines. Read without Weir's help where that is possible, to be compared before and after.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde_json::Value;
use weir_sensor::system::{interface::Interface, traffic_control};

use crate::{
    clock::wait_until,
    net::{Lab, run},
};

/// What the kernel itself shows in every BPF file system.
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

/// How long the kernel may take to take links off.
const PATIENCE: Duration = Duration::from_secs(2);

/// What veth pairs have without anybody's doing.
const NO_QDISC: &str = "noqueue";

/// One line for each thing, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traces {
    /// `pin PATH`, `IF xdp ID`, `IF tcx DIRECTION NAME`, `IF clsact DIRECTION NAME`, `IF qdisc KIND`.
    pub lines: Vec<String>,
}

impl Traces {
    /// What stands in the edge and in the lab's BPF file system.
    pub fn of(lab: &Lab) -> Result<Self> {
        let mut lines = Vec::new();
        pins(&lab.bpffs(), &lab.bpffs(), &mut lines)?;
        for link in listed(lab, "ip", &["-j", "link", "show"])? {
            let name = text(&link, "/ifname").context("an interface without a name")?;
            if let Some(id) = link.pointer("/xdp/prog/id").and_then(Value::as_u64) {
                lines.push(format!("{name} xdp {id}"));
            }
        }
        for qdisc in listed(lab, "tc", &["-j", "qdisc", "show"])? {
            let (device, kind) = (text(&qdisc, "/dev"), text(&qdisc, "/kind"));
            let (device, kind) = device.zip(kind).context("a qdisc without device or kind")?;
            if kind != NO_QDISC {
                lines.push(format!("{device} qdisc {kind}"));
            }
        }
        lines.extend(lab.edge().run(classifiers)??);
        lines.sort();
        Ok(Self { lines })
    }

    /// Waits until this is what stands: the kernel takes a link off some time after its last name is
    /// gone.
    pub fn wait(&self, lab: &Lab) -> Result<()> {
        let mut stands = Self::default();
        let waited = wait_until("the kernel holds what is expected", PATIENCE, || {
            stands = Self::of(lab)?;
            Ok(stands == *self)
        });
        waited.with_context(|| format!("expected {:#?}, there is {:#?}", self.lines, stands.lines))
    }

    /// Whether any line begins so.
    #[must_use]
    pub fn any(&self, beginning: &str) -> bool {
        self.lines.iter().any(|line| line.starts_with(beginning))
    }
}

fn pins(folder: &Path, root: &Path, lines: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()));
    for entry in entries? {
        let path = entry?.path();
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if KERNELS_OWN.contains(&name.as_str()) {
            continue;
        }
        lines.push(format!("pin {name}"));
        if path.is_dir() {
            pins(&path, root, lines)?;
        }
    }
    Ok(())
}

fn listed(lab: &Lab, tool: &str, arguments: &[&str]) -> Result<Vec<Value>> {
    let text = run(lab.edge().command(tool).args(arguments), "")?;
    serde_json::from_str(&text).with_context(|| format!("{tool} printed no JSON list: {text}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Programs of traffic control. Older `bpftool`s do not list those of TCX, so this asks as Weir
/// does.
fn classifiers() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for interface in Interface::all()? {
        for program in traffic_control::programs(interface.index)? {
            let name = program.name.as_deref().unwrap_or("?");
            lines.push(format!(
                "{} {} {} {name}",
                interface.name, program.attachment, program.direction
            ));
        }
    }
    Ok(lines)
}
