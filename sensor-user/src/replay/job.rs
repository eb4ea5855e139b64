//! Files that are judged as one: captures, or recordings.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use ipnet::IpNet;

use super::{
    events::Judge,
    feed::Feed,
    files::Files,
    input::{Input, Meter},
    player::Player,
    print::{Form, Printer},
    recording::Recording,
    server::Servers,
    summary::{Outcomes, Summary},
};
use crate::{
    capture::Capture,
    enforce::stage::Stage,
    policy::{self, CompiledPolicy, PolicyErrors},
};

/// What is to be judged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Where the policy is: a recording has numbers of services that it is read with again.
    pub policy_path: &'a Path,
    /// The policy, with its own numbers.
    pub policy: &'a Arc<CompiledPolicy>,
    /// The protected host, if the user says who it is.
    pub servers: &'a [IpNet],
    /// The files.
    pub files: &'a [PathBuf],
    /// What is printed.
    pub form: Form,
    /// How far policies go.
    pub stage: Stage,
    /// Threads that it may use.
    pub threads: usize,
    /// What counts the bytes that were read.
    pub meter: &'a Meter,
}

/// Why nothing, or nothing more, could be judged.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The policy is no longer what it was when it was read first.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// Packets and events of one host cannot be told apart.
    #[error("captures and recordings cannot be judged as one: leave out --join")]
    Mixed,
    /// Their services have other numbers, or their clocks other beginnings.
    #[error("the recordings are not of one run of the daemon: leave out --join")]
    Strangers,
    /// What was decided could not be printed.
    #[error("cannot write what was decided: {0}")]
    Write(#[source] io::Error),
}

/// What a job came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// What is to be told: damage, and a summary.
    pub notes: Vec<String>,
    /// Whether every file was read to its end.
    pub whole: bool,
}

impl Job<'_> {
    /// Judges the files. Decisions go to `out` as they are made.
    ///
    /// # Errors
    /// See [`JobError`]. Damaged files are no error of the job's: they are judged up to the damage.
    pub fn run(&self, out: impl Write) -> Result<Done, JobError> {
        let begun = Instant::now();
        let mut notes = Vec::new();
        let (mut captures, mut recordings) = (Vec::new(), Vec::new());
        for path in self.files {
            match Input::open(path, self.meter) {
                Ok(Input::Capture(capture)) => captures.push(capture),
                Ok(Input::Recording(recording)) => recordings.push((recording, path.as_path())),
                Err(error) => notes.push(error.to_string()),
            }
        }
        let played = match (captures.is_empty(), recordings.is_empty()) {
            (true, true) => None,
            (false, true) => self.captures(captures, out, &mut notes)?,
            (true, false) => Some(self.recordings(recordings, out, &mut notes)?),
            (false, false) => return Err(JobError::Mixed),
        };
        let whole = notes.is_empty();
        notes.extend(played.map(|played| played.note(self.files, begun)));
        Ok(Done { notes, whole })
    }

    fn captures(
        &self,
        captures: Vec<Capture>,
        out: impl Write,
        notes: &mut Vec<String>,
    ) -> Result<Option<Played>, JobError> {
        let servers = if self.servers.is_empty() {
            Files::servers(self.files, self.policy)
        } else {
            Servers::Named(self.servers.to_vec())
        };
        let mut trouble = |error: crate::capture::CaptureError| notes.push(error.to_string());
        let mut files = Files::new(captures, &mut trouble);
        let Some(first_ns) = files.first_ns() else { return Ok(None) };
        let hosts = servers.names();
        let mut player = Player::new(Arc::clone(self.policy), servers, first_ns).at(self.stage);
        let mut printer = Printer::new(self.form, out, self.policy, player.clock());
        while let Some(frame) = files.next_frame(&mut trouble) {
            player.frame(&frame, &mut printer);
            if printer.is_closed() {
                break;
            }
        }
        player.finish(&mut printer);
        let outcomes = printer.finish().map_err(JobError::Write)?;
        Ok(Some(Played { hosts: Some(hosts), summary: player.summary(), outcomes, lost: 0 }))
    }

    fn recordings(
        &self,
        recordings: Vec<(Recording, &Path)>,
        out: impl Write,
        notes: &mut Vec<String>,
    ) -> Result<Played, JobError> {
        let feeds = recordings.into_iter();
        let mut feeds = feeds.map(|(it, path)| Feed::new(it, path, self.meter, self.threads));
        let Some(mut feed) = feeds.next() else { return Err(JobError::Mixed) };
        let head = feed.head().clone();
        let policy = Arc::new(policy::load(self.policy_path, &head.services)?);
        let mut judge = Judge::new(Arc::clone(&policy), &head).at(self.stage);
        let mut printer = Printer::new(self.form, out, &policy, judge.clock());
        let mut lost = 0;
        loop {
            match feed.next_event() {
                Ok(Some(event)) if !printer.is_closed() => {
                    judge.event(&event, &mut printer);
                    continue;
                }
                Ok(_) => {}
                Err(error) => notes.push(error.to_string()),
            }
            lost += feed.lost();
            match feeds.next() {
                Some(next) if !next.head().is_of_the_run_of(&head) => {
                    return Err(JobError::Strangers);
                }
                Some(next) => feed = next,
                None => break,
            }
        }
        let outcomes = printer.finish().map_err(JobError::Write)?;
        Ok(Played { hosts: None, summary: judge.summary(), outcomes, lost })
    }
}

/// What was played.
struct Played {
    /// Whom packets were for; of recordings, that is known.
    hosts: Option<Vec<String>>,
    summary: Summary,
    outcomes: Outcomes,
    lost: u64,
}

impl Played {
    /// What there was, in a line.
    fn note(&self, files: &[PathBuf], begun: Instant) -> String {
        let Summary { packets, events, unread, between_others, connections, sources, .. } =
            self.summary;
        let took = begun.elapsed().as_secs_f64().max(1e-9);
        let span = self.summary.span.length().as_secs_f64();
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let (read, speed) = match &self.hosts {
            Some(hosts) => {
                let hosts = if hosts.is_empty() { "nobody".to_owned() } else { hosts.join(" ") };
                let read = format!(
                    "{packets} packets in {span:.3} s to {hosts} ({unread} unread, \
                     {between_others} between others)"
                );
                (read, format!("{:.0} packets/s", packets as f64 / took))
            }
            None => {
                let read = format!("{events} events in {span:.3} s ({} lost)", self.lost);
                (read, format!("{:.0} events/s", events as f64 / took))
            }
        };
        format!(
            "{}: {read}, {connections} connections, {sources} sources; decisions: {}; {speed}, \
             {:.0} times as fast",
            names.join(", "),
            self.outcomes,
            span / took,
        )
    }
}
