//! What a replay prints: a line for every decision, or for every source.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{features::Features, record::DecisionRecord, session::Witness, summary::Outcomes};
use crate::{
    event::Event,
    policy::CompiledPolicy,
    score::{Clock, Decision, Engine},
};

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Decisions, for people.
    #[default]
    Text,
    /// Decisions, one JSON object a line.
    Json,
    /// What is known of each source at the end, one JSON object a line.
    Features,
}

/// Prints decisions as they are made.
pub(super) struct Printer<W: Write> {
    form: Form,
    out: W,
    policy: Arc<CompiledPolicy>,
    clock: Clock,
    features: Option<Features>,
    outcomes: Outcomes,
    result: io::Result<()>,
}

impl<W: Write> Printer<W> {
    pub(super) fn new(form: Form, out: W, policy: &Arc<CompiledPolicy>, clock: Clock) -> Self {
        Self {
            form,
            out,
            policy: Arc::clone(policy),
            clock,
            features: (form == Form::Features).then(|| Features::new(Arc::clone(policy))),
            outcomes: Outcomes::default(),
            result: Ok(()),
        }
    }

    /// Whether nobody reads any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.result.is_err()
    }

    /// Prints what has waited for the end.
    pub(super) fn finish(mut self) -> io::Result<Outcomes> {
        self.result?;
        for known in self.features.iter().flat_map(Features::known) {
            serde_json::to_writer(&mut self.out, &known)?;
            writeln!(self.out)?;
        }
        self.out.flush()?;
        Ok(self.outcomes)
    }

    fn print(&mut self, decision: &Decision) -> io::Result<()> {
        let record = DecisionRecord::of(decision, &self.policy, self.clock);
        self.outcomes.add(&record);
        match self.form {
            Form::Features => Ok(()),
            Form::Text => writeln!(self.out, "{}", line(&record)),
            Form::Json => {
                serde_json::to_writer(&mut self.out, &record)?;
                writeln!(self.out)
            }
        }
    }
}

impl<W: Write> Witness for Printer<W> {
    fn event(&mut self, _event: &Event) {}

    fn judged(&mut self, event: &Event, decisions: Vec<Decision>, engine: &mut Engine) {
        for decision in &decisions {
            let printed = self.print(decision);
            if self.result.is_ok() {
                self.result = printed;
            }
        }
        if let Some(features) = &mut self.features {
            features.judged(event, decisions, engine);
        }
    }
}

/// A decision as a line.
fn line(record: &DecisionRecord) -> String {
    let factors: Vec<String> = record
        .factors
        .iter()
        .map(|factor| format!("{:+} {} ({})", factor.points, factor.name, factor.text))
        .collect();
    let DecisionRecord { time, action, source, service, policy, score, owasp, .. } = record;
    let threats = if owasp.is_empty() { "-".to_owned() } else { owasp.join(" ") };
    let factors = factors.join("; ");
    format!(
        "{time} {action} {source} at {service}: {score} points by {policy}, {threats}: {factors}"
    )
}
