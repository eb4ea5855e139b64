//! The loop: one task, and whatever comes first.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::MissedTickBehavior,
};

use super::{
    Daemon,
    ready::ServiceManager,
    sensor::{RecordStream as _, Sensor, Streams},
};
use crate::{
    api::{
        command::{self, Command},
        thread::{ApiThread, Doors},
    },
    journal::Actor,
};

/// How often time passes.
const TICK: Duration = Duration::from_secs(1);

/// What a stream that breaks means.
const UNREADABLE: &str = "cannot read events from the kernel; enforcement goes on, nothing new is \
                          decided: start the daemon again";

/// Signals that the daemon listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// Runs the daemon until a signal ends it, or one of its streams breaks.
pub(super) async fn serve<S: Sensor>(
    mut daemon: Daemon<S>,
    mut streams: Streams<S>,
    doors: Doors,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let (commander, mut commands) = command::channel();
    let mut api = ApiThread::start(doors, commander, Arc::clone(&daemon.lookup))
        .context("cannot start the thread that answers")?;
    let manager = ServiceManager::from_environment();
    manager.ready(&daemon.summary());
    tracing::info!("ready: {}", daemon.summary());
    daemon.note_start();
    daemon.begin_audit();

    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    let mut hellos = Vec::new();
    let mut heard = Vec::new();
    let ended = loop {
        // Not biased: a flood of events must not keep the operator waiting, nor the pulse, nor a flood
        // of hellos the events.
        tokio::select! {
            received = streams.events.next(&mut batch) => {
                if let Err(error) = received {
                    break Err(error).context(UNREADABLE);
                }
                daemon.handle(&batch);
                batch.clear();
            }
            received = streams.hellos.next(&mut hellos) => {
                if let Err(error) = received {
                    break Err(error).context(UNREADABLE);
                }
                daemon.handle_hellos(&hellos);
                hellos.clear();
            }
            view = daemon.guard_desk.changed() => daemon.take_view(view),
            () = daemon.signals.next(&mut heard) => daemon.hear(&mut heard),
            _ = ticker.tick() => daemon.tick(),
            Some((command, actor)) = commands.recv() => daemon.answer(command, &actor, &streams),
            step = daemon.audit.next() => daemon.audit(step),
            Some(done) = daemon.chores.done() => daemon.note_done(done),
            _ = signals.hangup.recv() => {
                manager.reloading();
                daemon.reload();
                if let Some(listener) = daemon.moved.take() {
                    api.move_loopback(listener);
                }
                manager.ready(&daemon.summary());
            }
            _ = signals.terminate.recv() => break Ok(()),
            _ = signals.interrupt.recv() => break Ok(()),
            stopped = api.ended() => {
                break stopped.context("cannot serve the control socket");
            }
        }
        // Whatever happened: what is wanted now is what proxies are told from now on.
        daemon.post();
        daemon.journal.flush();
    };
    manager.stopping();
    drop(api);
    daemon.finish();
    ended
}

impl<S: Sensor> Daemon<S> {
    fn answer(&mut self, command: Command, actor: &Actor, streams: &Streams<S>) {
        self.asked_by = actor.clone();
        // A client that went away does not wait for its answer.
        match command {
            Command::Status(reply) => drop(reply.send(self.status(streams))),
            Command::Ready(reply) => drop(reply.send(Ok(self.readiness()))),
            Command::Metrics(reply) => drop(reply.send(self.metrics(streams))),
            Command::Verdicts(address, reply) => drop(reply.send(self.verdicts(address))),
            Command::Decisions(limit, reply) => drop(reply.send(Ok(self.decisions(limit)))),
            Command::Explain(query, reply) => drop(reply.send(self.explain(&query))),
            Command::Label(list, reply) => self.label(list, actor, reply),
            Command::Labels(query, reply) => self.list_labels(&query, reply),
            Command::Brake(reply) => drop(reply.send(Ok(self.brake_status()))),
            Command::ResetBrake(reply) => drop(reply.send(self.reset_breaker(actor))),
            Command::Forget { list, unblock, reply } => self.forget(&list, unblock, actor, reply),
            Command::RotateKey(key, reply) => self.rotate_key(key, actor, reply),
            Command::Mode(reply) => drop(reply.send(Ok(self.mode_report()))),
            Command::SwitchMode(query, reply) => {
                drop(reply.send(self.switch_mode(&query, actor)));
            }
            Command::Audit { now, reply } => self.audit_report(now, reply),
            Command::Gates(query, reply) => drop(reply.send(self.gates(&query))),
            Command::Promote(query, reply) => drop(reply.send(self.promote(&query, actor))),
            Command::RollBack(query, reply) => drop(reply.send(self.roll_back(&query, actor))),
            Command::Block(block, reply) => self.block(block, reply),
            Command::Unblock(unblock, reply) => self.unblock(unblock, reply),
            Command::TurnedAway(count) => self.note_turned_away(count, actor),
        }
    }

    /// The daemon in a line.
    pub(super) fn summary(&self) -> String {
        let names: Vec<&str> =
            self.attachments.iter().map(|attachment| attachment.interface.as_str()).collect();
        let now_ns = crate::system::clock::monotonic_ns();
        format!(
            "mode {} on {}, verdicts in force: {}",
            crate::enforce::names::mode_name(self.effective_mode()),
            names.join(" "),
            self.ledger.list(now_ns).count() + self.ledger.list_fingerprints(now_ns).count()
        )
    }

    /// Ends, and leaves enforcement where it is.
    pub(super) fn finish(mut self) {
        self.note_stop();
        self.keep_cohort();
        self.keep_fingerprints();
        self.keep_baselines();
        if let Some(recorder) = self.recorder.take() {
            recorder.finish();
        }
        let names: Vec<&str> =
            self.attachments.iter().map(|attachment| attachment.interface.as_str()).collect();
        let until = match self.engine.policy().settings.heartbeat_ns {
            Some(ns) => format!("for {} s, as the policy's heartbeat says", ns / 1_000_000_000),
            None => "until each expires".into(),
        };
        tracing::info!(
            "ended; Weir stays attached to {}, and verdicts go on {until}. `weir run` takes up again, \
             `weir detach` removes it",
            names.join(" ")
        );
        for chore in std::mem::take(&mut self.postponed) {
            // There is nobody left to offer it again.
            drop(self.chores.offer(chore));
        }
        self.finish_store();
        self.chores.finish();
    }
}
