//! `weir journal key` and `weir journal rotate-key`

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde::Serialize;

use super::super::{Outcome, client, format::FormatOption};
use crate::{
    api::{
        client::ClientError,
        message::{JournalKey, RotateQuery, Rotated},
    },
    journal::{Actor, Places, PseudonymKeys, SigningKey, hex, offline::Offline},
    system::paths::Paths,
};

/// Show the public key that checkpoints are signed with.
///
/// Keep it where the host cannot change it: `weir journal verify --public-key` compares with it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir journal key\n  \
    weir journal key --format json | jq -r .public_key")]
pub(super) struct Key {
    #[command(flatten)]
    format: FormatOption,
}

#[derive(Serialize)]
struct Keys {
    /// The key that signs.
    public_key: String,
    /// Numbers of the keys of pseudonyms that are kept; the last is in use.
    pseudonym_keys: Vec<u32>,
}

impl Key {
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<Outcome> {
        let places = Places::of(paths);
        let Some(key) = SigningKey::read(&places.signature_key)? else {
            bail!(
                "there is no key at {}: it is made at the first `weir run`",
                places.signature_key.display()
            );
        };
        let pseudonyms = PseudonymKeys::read(&places.pseudonym_keys)?;
        let keys = Keys { public_key: hex(&key.public()), pseudonym_keys: pseudonyms.ids() };
        self.format.print(&keys, |keys, out| {
            let numbers: Vec<String> = keys.pseudonym_keys.iter().map(u32::to_string).collect();
            writeln!(out, "public key (Ed25519)  {}", keys.public_key)?;
            writeln!(out, "keys of pseudonyms    {}", numbers.join(" "))
        })?;
        Ok(Outcome::Done)
    }
}

/// Use a new key from now on.
///
/// A new key of pseudonyms ends the tie between what was written before and after; the old one is kept as
/// long as the Site's `privacy` says, so that somebody can still be found. A new key of signatures is
/// vouched for by the old one, so that a journal over both verifies with either.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir journal rotate-key\n  \
    weir journal rotate-key signature")]
pub(super) struct RotateKey {
    /// Which key.
    #[arg(value_enum, default_value_t)]
    key: JournalKey,
    #[command(flatten)]
    format: FormatOption,
}

impl RotateKey {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = RotateQuery { key: self.key };
        let asked = client::ask(paths, async |client| client.rotate_key(&query).await);
        let rotated = match asked {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NoDaemon { .. })) => {
                self.without_daemon(paths)?
            }
            asked => asked?,
        };
        let what = match self.key {
            JournalKey::Pseudonyms => "number of the new key of pseudonyms",
            JournalKey::Signature => "new public key (Ed25519)",
        };
        self.format.print(&rotated, |rotated, out| writeln!(out, "{what}  {}", rotated.new))?;
        Ok(Outcome::Done)
    }

    fn without_daemon(&self, paths: &Paths) -> anyhow::Result<Rotated> {
        let actor = Actor::User(nix::unistd::getuid().as_raw());
        let mut offline = Offline::open(paths)?;
        let new = match self.key {
            JournalKey::Pseudonyms => {
                offline.desk.rotate_pseudonyms(&actor).map_err(|error| anyhow!(error))?.to_string()
            }
            JournalKey::Signature => {
                let (tell, told) = std::sync::mpsc::channel();
                let then = Box::new(move |rotated| {
                    // It is waited for below.
                    let _ = tell.send(rotated);
                });
                offline.desk.rotate_signature(&actor, then);
                let rotated = told.recv().context("the key was not replaced")?;
                rotated.map_err(|error| anyhow!(error))?
            }
        };
        offline.finish()?;
        Ok(Rotated { new })
    }
}
