//! All actors of a story, playing at the same time.

use std::{net::SocketAddr, pin::Pin, sync::Arc, thread::JoinHandle};

use anyhow::{Result, anyhow};
use tokio::{sync::watch, task::JoinSet};

use super::{Actor, Origin, Report, Scene, Tally};
use crate::{
    net::{Family, Lab, runtime},
    server::Server,
};

type Play = Box<dyn FnOnce(Scene) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send>;

/// One actor's part, to be watched from outside.
#[derive(Clone, Debug)]
pub struct Part {
    name: &'static str,
    origin: Origin,
    is_honest: bool,
    door: Option<SocketAddr>,
    tally: Arc<Tally>,
}

impl Part {
    /// The counters as they are now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.tally.report(self.name, self.origin, self.is_honest)
    }
}

/// Actors before their play.
#[derive(Default)]
pub struct Troupe {
    cast: Vec<(Part, Play)>,
}

impl Troupe {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an actor.
    #[must_use]
    pub fn with(self, actor: impl Actor) -> Self {
        self.add(actor, None)
    }

    /// Adds an actor who finds the shop elsewhere: at a balancer or a CDN.
    #[must_use]
    pub fn with_at(self, door: SocketAddr, actor: impl Actor) -> Self {
        self.add(actor, Some(door))
    }

    /// Adds several at once.
    #[must_use]
    pub fn with_all<A: Actor>(self, actors: impl IntoIterator<Item = A>) -> Self {
        actors.into_iter().fold(self, Self::with)
    }

    fn add(mut self, actor: impl Actor, door: Option<SocketAddr>) -> Self {
        let part = Part {
            name: actor.name(),
            origin: actor.origin(),
            is_honest: actor.is_honest(),
            door,
            tally: Arc::default(),
        };
        self.cast.push((part, Box::new(|scene| Box::pin(actor.play(scene)))));
        self
    }

    /// Begins: all at the same time, the honest on one thread and the others on another, so that
    /// the attackers' work does not slow the honest down.
    pub fn play(self, lab: &Lab, server: &Server) -> Result<Playing> {
        let parts = self.cast.iter().map(|(part, _)| part.clone()).collect();
        let (stop, _) = watch::channel(false);
        let (honest, others) = self.cast.into_iter().partition(|(part, _)| part.is_honest);
        let threads = [honest, others]
            .into_iter()
            .map(|cast| perform(lab, server, cast, stop.subscribe()))
            .collect::<Result<_>>()?;
        Ok(Playing { parts, stop, threads })
    }
}

/// A play under way. Dropping it ends it.
#[derive(Debug)]
pub struct Playing {
    parts: Vec<Part>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<Result<Result<()>>>>,
}

impl Playing {
    /// Every actor's counters as they are now, in the order in which they were added.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.parts.iter().map(Part::report).collect()
    }

    /// Whether every actor is done.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until every actor is done.
    pub fn finish(mut self) -> Result<Vec<Report>> {
        self.join()?;
        Ok(self.reports())
    }

    /// Ends the play now.
    pub fn stop(mut self) -> Result<Vec<Report>> {
        self.stop.send_replace(true);
        self.join()?;
        Ok(self.reports())
    }

    fn join(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            let played = thread.join().map_err(|_| anyhow!("an actor panicked"));
            outcome = outcome.and(played.flatten().flatten());
        }
        outcome
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // Nobody is left to tell.
        let _ = self.join();
    }
}

fn perform(
    lab: &Lab,
    server: &Server,
    cast: Vec<(Part, Play)>,
    mut stop: watch::Receiver<bool>,
) -> Result<JoinHandle<Result<Result<()>>>> {
    let families = [Family::V4, Family::V6];
    let link = lab.link();
    let (shop, api) = (families.map(|f| link.shop(f)), families.map(|f| link.api(f)));
    let (trust, interface) = (server.trust().clone(), link.clients_interface);
    lab.clients().spawn("actors", move || {
        let mut actors = JoinSet::new();
        let runtime = runtime()?;
        let _inside = runtime.enter();
        for (part, play) in cast {
            let (trust, tally) = (trust.clone(), part.tally);
            let shop = part.door.map_or(shop, |door| [door; 2]);
            actors.spawn(play(Scene { shop, api, trust, interface, tally }));
        }
        runtime.block_on(async {
            loop {
                tokio::select! {
                    played = actors.join_next() => match played {
                        Some(played) => played.map_err(|_| anyhow!("an actor panicked"))??,
                        None => return Ok(()),
                    },
                    _ = stop.wait_for(|stop| *stop) => return Ok(()),
                }
            }
        })
    })
}
