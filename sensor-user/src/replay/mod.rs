//! Captures and recordings, judged by a policy as the daemon would have judged them: the same stages on
//! the host's tables, the same reader of hellos, the same engine. Needs no privileges.
//!
//! | file | what |
//! | --- | --- |
//! | `input` | captures and recordings, told apart |
//! | `files` | captures as one stream of frames, by time |
//! | `server` | which end of a packet is the protected host |
//! | `packet`, `host` | frames through the stages, events out |
//! | `session` | events through hellos, watch and engine |
//! | `player` | a capture from its first frame to its end |
//! | `recording` | events as a running daemon keeps them |
//! | `events` | a recording from its first event to its end |
//! | `record` | a decision as it is printed |
//! | `job`, `feed`, `print` | files judged as one; what is printed |
//! | `trial`, `made` | the tests of policies, and traffic made up for them |
//! | `features` | what is known of each source |
//! | `reputation` | what the policy's files say of addresses |
//! | `summary` | what there was |
//!
//! The clock is that of the packets, so a replay says the same each time. It differs from what the
//! daemon decided only where a value lies within a tolerance of a threshold: see docs/replay.md.

mod events;
mod features;
mod feed;
mod files;
mod host;
mod input;
mod job;
mod made;
mod packet;
mod player;
mod print;
mod record;
pub mod recording;
mod reputation;
mod server;
mod session;
mod summary;
pub mod trial;

pub use self::{
    events::Judge,
    features::{Features, Known},
    files::Files,
    input::{Input, InputError, Meter},
    job::{Done, Job, JobError},
    player::Player,
    print::Form,
    record::{DecisionRecord, FactorRecord},
    server::Servers,
    session::Witness,
    summary::{Outcomes, Span, Summary},
};

#[cfg(test)]
mod tests;
