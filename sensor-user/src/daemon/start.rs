//! Starting, in an order that leaves nothing half-attached: everything that can be wrong is looked
//! at first, interfaces are attached to last, and what was attached is taken off again if one of
//! them fails.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, bail};
use weir_common::abi::Mode;

use super::{
    Daemon, Parts,
    chores::Chores,
    confine,
    feeds::FeedDesk,
    guards::{GuardDesk, HostView},
    keep::Keeper,
    kill,
    lock::DaemonLock,
    log, lookup,
    modes::ModeDesk,
    record::RecordingPlan,
    reload,
    sensor::{Options, Preference, Sensor, Streams},
    serve,
    signals::SignalDesk,
    stages::{KeptStages, StageDesk},
    state::StateFiles,
};
use crate::{
    api::{server::Server, thread::Doors},
    enforce::{
        guard::Guards,
        ledger::{Ledger, durable::KeptOffence},
        stage::{Lot, Stage},
    },
    journal::{Actor, Desk, Places},
    policy::{self, CompiledPolicy},
    system::{
        bpffs,
        capability::{Capabilities, Capability},
        clock,
        interface::Interface,
        kernel_version::{self, KernelVersion, OLDEST},
        paths::Paths,
        sockets,
    },
};

/// What `weir run` was asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where things live.
    pub paths: Paths,
    /// Interfaces that visitors come in by.
    pub interfaces: Vec<String>,
    /// Where the ingress program goes.
    pub preference: Preference,
    /// Policy file.
    pub policy: PathBuf,
    /// Where policies begin that were never here.
    pub stage: Stage,
    /// Where events are recorded, if they are.
    pub recording: Option<RecordingPlan>,
    /// Whether a wall of the sandbox that cannot be built is a reason not to start.
    pub require_sandbox: bool,
}

/// Runs the daemon until it is told to end.
pub fn run<S: Sensor>(plan: &Plan) -> anyhow::Result<()> {
    log::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run_in::<S>(plan))
}

async fn run_in<S: Sensor>(plan: &Plan) -> anyhow::Result<()> {
    // From here on a signal is not lost, and does not end the process half-way.
    let signals = serve::Signals::listen()?;
    let paths = &plan.paths;
    let files = StateFiles::new(paths, clock::boot_id().context("cannot read this boot's id")?);
    let policy = Arc::new(policy::load(&plan.policy, &files.service_ids()?)?);
    reload::warn(&policy);
    check_interfaces(&plan.interfaces)?;
    check_host(paths)?;
    let _lock = DaemonLock::take(&paths.daemon_lock())?;
    // A disk that cannot be written is no reason not to enforce.
    if let Err(error) = files.keep_service_ids(policy.service_ids()) {
        tracing::error!("{error}; services may have other numbers after the next start");
    }
    confine::shut_in(plan, &policy)?;

    let sensor =
        S::open(&Options { paths: paths.clone(), capacities: policy.settings.capacities.clone() })?;
    let (daemon, streams, doors) = prepare(plan, sensor, policy, files)?;
    serve::serve(daemon, streams, doors, signals).await
}

/// Everything after the programs are loaded. On failure, whatever this process put into the kernel
/// is taken out again.
pub(super) fn prepare<S: Sensor>(
    plan: &Plan,
    mut sensor: S,
    policy: Arc<CompiledPolicy>,
    files: StateFiles,
) -> anyhow::Result<(Daemon<S>, Streams<S>, Doors)> {
    let mut modes = ModeDesk::open(&plan.paths, &policy);
    let in_mode = modes.over(&policy);
    let guard_desk = match GuardDesk::open(&policy) {
        Ok(desk) => desk,
        Err(error) => {
            sensor.roll_back();
            return Err(error).context("cannot look this host's addresses up");
        }
    };
    match fill(plan, &mut sensor, &in_mode, &files, guard_desk.view()) {
        Ok((ledger, guards, doors, (signals, feeds), (mut keeper, offences))) => {
            let chores = Chores::start().context("cannot start the thread for chores")?;
            let policy_file = plan.policy.clone();
            let places = Places::of(&plan.paths);
            let journal = Desk::open(keeper.store.clone(), places, policy.privacy);
            let (stages, base) = match stages(plan, &files, policy, &mut keeper) {
                Ok(staged) => staged,
                Err(error) => {
                    sensor.roll_back();
                    return Err(error);
                }
            };
            modes.set_base(&base);
            let policy = modes.over(&base);
            let parts = Parts {
                sensor,
                policy,
                policy_file,
                stages,
                ledger,
                offences,
                guards,
                guard_desk,
                modes,
                chores,
                files,
                keeper,
                journal,
                kill_note: plan.paths.kill_note(),
                signals,
                feeds,
            };
            let mut daemon = Daemon::new(parts);
            daemon.recall_cohort();
            let begun = daemon.begin_recording(plan.recording.as_ref());
            match begun.and_then(|()| daemon.attach(&plan.interfaces, plan.preference)) {
                Ok(streams) => Ok((daemon, streams, doors)),
                Err(error) => {
                    daemon.sensor.roll_back();
                    Err(error)
                }
            }
        }
        Err(error) => {
            sensor.roll_back();
            Err(error)
        }
    }
}

/// Where policies stand, and what judges: the files' policies, and what acts in place of some.
fn stages(
    plan: &Plan,
    files: &StateFiles,
    policy: Arc<CompiledPolicy>,
    keeper: &mut Keeper,
) -> anyhow::Result<(StageDesk, Arc<CompiledPolicy>)> {
    let KeptStages { stages, secret } = std::mem::take(&mut keeper.stages);
    let secret = secret.map_or_else(Lot::fresh_secret, Ok)?;
    let ids = policy.service_ids().clone();
    let mut desk = StageDesk::new(stages, &secret, plan.stage, files.boot_id(), policy);
    let loaded = desk.load(&plan.policy, &ids)?;
    let policy = desk.take_up(loaded, &Actor::Daemon);
    Ok((desk, policy))
}

/// What [`fill`] made.
type Filled = (Ledger, Guards, Doors, (SignalDesk, FeedDesk), (Keeper, Vec<KeptOffence>));

/// The kernel's tables, before any packet meets them.
fn fill<S: Sensor>(
    plan: &Plan,
    sensor: &mut S,
    policy: &Arc<CompiledPolicy>,
    files: &StateFiles,
    view: &HostView,
) -> anyhow::Result<Filled> {
    restore_kill_switch(&plan.paths, sensor)?;
    let guards = view.guards(policy);
    let (keeper, kept) = Keeper::open(&plan.paths, files.boot_id())?;
    let now_ns = clock::monotonic_ns();
    let is_known = kept.is_some();
    let mut kept = kept;
    let offences = kept.as_mut().map(|kept| std::mem::take(&mut kept.offences));
    let mut ledger = Ledger::adopt(&*sensor, kept, guards.clone(), now_ns)
        .context("cannot take up the verdicts of an earlier run")?;
    if !is_known {
        ledger.keep_everything();
    }
    ledger.apply(sensor, now_ns).context("cannot bring verdicts into the kernel")?;
    reload::set_tables(sensor, policy, None, view, Mode::Enforce)?;
    sensor.pulse(weir_common::abi::time::tick(now_ns))?;
    seed_outbound(sensor);
    let doors = Doors {
        control: Server::bind(&plan.paths.control_socket())?,
        lookup: lookup::socket(&plan.paths)?,
        loopback: lookup::loopback(&policy.lookup)?,
    };
    let signals = SignalDesk::open(&plan.paths, policy)?;
    let feeds = FeedDesk::open(&policy.reputation, plan.paths.feeds_folder(), &guards)
        .context("cannot start the thread for feeds")?;
    Ok((ledger, guards, doors, (signals, feeds), (keeper, offences.unwrap_or_default())))
}

impl<S: Sensor> Daemon<S> {
    fn begin_recording(&mut self, plan: Option<&RecordingPlan>) -> anyhow::Result<()> {
        let Some(plan) = plan else { return Ok(()) };
        let file = plan.file.display();
        self.record(plan).with_context(|| format!("cannot record to {file}"))?;
        tracing::info!("events are recorded to {file}, with the addresses of clients");
        Ok(())
    }

    fn attach(
        &mut self,
        interfaces: &[String],
        preference: Preference,
    ) -> anyhow::Result<Streams<S>> {
        for interface in interfaces {
            let attachment = self.sensor.attach(interface, preference)?;
            tracing::info!(
                "{} {}: {} in, {} out ({})",
                if attachment.taken_over { "took over" } else { "attached to" },
                attachment.interface,
                attachment.ingress.name(),
                attachment.egress.name(),
                attachment.why
            );
            self.attachments.push(attachment);
        }
        // Once more: what this host opened since the first time.
        seed_outbound(&mut self.sensor);
        Ok(Streams { hellos: self.sensor.hellos()?, events: self.sensor.events()? })
    }
}

/// The switch is on if either the file or the kernel says so: turning it off must be somebody's
/// decision, never a start's.
fn restore_kill_switch(paths: &Paths, sensor: &mut impl Sensor) -> anyhow::Result<()> {
    let persisted = kill::persisted(paths)?;
    if persisted || sensor.kill()? {
        sensor.set_kill(true)?;
        tracing::warn!("the kill switch is on: everything passes until `weir kill off`");
    }
    Ok(())
}

/// A verdict on the far end must not cut what this host opened before Weir came. Not knowing those
/// flows is no reason not to start.
fn seed_outbound(sensor: &mut impl Sensor) {
    match sockets::opened_by_this_host() {
        Ok(flows) => {
            if let Err(error) = sensor.seed_outbound(&flows) {
                tracing::warn!("{error}; a verdict could cut what this host opened before");
            }
        }
        Err(error) => tracing::warn!("{error}; a verdict could cut what this host opened before"),
    }
}

fn check_interfaces(names: &[String]) -> anyhow::Result<()> {
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|earlier| earlier == name) {
            bail!("interface {name} is named twice");
        }
        let interface = Interface::named(name)?;
        if !interface.up {
            tracing::warn!("{name} is down: ip link set {name} up");
        }
    }
    Ok(())
}

fn check_host(paths: &Paths) -> anyhow::Result<()> {
    if let Some(version) = KernelVersion::running().filter(|version| !version.at_least(OLDEST)) {
        let (major, minor) = OLDEST;
        bail!("kernel {version} is too old: Weir needs {major}.{minor} or later");
    }
    let missing = Capabilities::effective().context("cannot read this process's capabilities")?;
    let missing: Vec<String> = missing.missing().into_iter().map(Capability::without).collect();
    if !missing.is_empty() {
        bail!(
            "missing privileges: {}; run this as root, or grant the unit AmbientCapabilities=CAP_BPF \
             CAP_NET_ADMIN CAP_PERFMON",
            missing.join("; ")
        );
    }
    if !kernel_version::has_btf() {
        bail!(
            "this kernel does not publish its types (/sys/kernel/btf/vmlinux): use one built with \
             CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys"
        );
    }
    let place = paths.bpffs.display();
    match bpffs::is_mounted(&paths.bpffs) {
        Ok(true) => Ok(()),
        Ok(false) => bail!("{place} is not a BPF file system: mount -t bpf bpf {place}"),
        Err(error) => bail!(
            "cannot look at {place}: {error}; mkdir -p {place} && mount -t bpf bpf {place}, or name \
             another with --bpffs"
        ),
    }
}
