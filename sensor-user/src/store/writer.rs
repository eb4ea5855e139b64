//! The store's thread: what waits becomes one transaction, and what fails is tried again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, Transaction};

use super::{
    StoreError,
    error::{Fault, fault, words},
    file::{Database, Unusable},
    queue::{Item, Next, Shared},
};

/// Pauses between tries while writing fails: the first, and the longest that they double to.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of each work of a group: refused for this reason, or on disk.
type Refusals = Vec<Option<String>>;

/// Why a group is not on disk.
enum Failure {
    /// It is tried again with the same connection.
    Surroundings(String),
    /// The database is of no use any more.
    Database(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match fault(&error) {
            Fault::Database => Self::Database(words(&error)),
            Fault::Work | Fault::Surroundings => Self::Surroundings(words(&error)),
        }
    }
}

pub(super) struct Writer {
    database: Database,
    // The connection, and which file it is of.
    open: Option<(Connection, Option<(u64, u64)>)>,
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        connection: Option<Connection>,
        shared: Arc<Shared>,
    ) -> Self {
        let inode = database.inode();
        let open = connection.map(|connection| (connection, inode));
        Self { database, open, shared }
    }

    /// Writes until the store is closed and nothing waits, or its patience is over.
    pub(super) fn run(mut self) {
        let mut pause = self.open.is_none().then_some(FIRST_PAUSE);
        while let Next::Group(mut group) = self.shared.next(pause) {
            match self.write(&group) {
                Ok(refusals) => {
                    pause = None;
                    self.succeed(&mut group, refusals);
                }
                Err(failure) => {
                    pause = Some(pause.map_or(FIRST_PAUSE, |pause| LONGEST_PAUSE.min(2 * pause)));
                    self.fail(group, failure);
                }
            }
        }
        let mut left = self.shared.abandon();
        if !left.is_empty() {
            tracing::error!("{} works of the store were not written before the end", left.len());
        }
        for item in &mut left {
            item.tell(Err(StoreError::Ended));
        }
    }

    fn write(&mut self, group: &[Item]) -> Result<Refusals, Failure> {
        self.reopen_if_needed()?;
        let Some((connection, _)) = &mut self.open else {
            return Err(Failure::Surroundings("it is not open".into()));
        };
        let transaction = connection.transaction()?;
        if group.is_empty() {
            // Writing failed, and nothing waits: does it still?
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('tried', datetime())", [])?;
        }
        let mut refusals = Refusals::with_capacity(group.len());
        for item in group {
            refusals.push(carry_out(&transaction, item)?);
        }
        transaction.commit()?;
        Ok(refusals)
    }

    /// A file that was removed or replaced behind the store's back takes nothing more.
    fn reopen_if_needed(&mut self) -> Result<(), Failure> {
        let inode = self.database.inode();
        let is_ours = self.open.as_ref().is_some_and(|(_, of)| inode.is_some() && *of == inode);
        if is_ours {
            return Ok(());
        }
        let was_open = self.open.take().is_some();
        match self.database.writer_or_new() {
            Ok((connection, set_aside)) => {
                let is_new = set_aside.is_some() || was_open || inode.is_none();
                self.shared.with_health(|health| {
                    health.begun += u64::from(is_new);
                    if set_aside.is_some() {
                        health.set_aside = set_aside;
                    }
                });
                if was_open {
                    tracing::error!(
                        "{} was removed or replaced: what is known is written into a new one",
                        self.database.path.display()
                    );
                }
                self.open = Some((connection, self.database.inode()));
                Ok(())
            }
            Err(Unusable::Failed(_, why)) => Err(Failure::Surroundings(why)),
            Err(Unusable::Newer(form)) => {
                Err(Failure::Surroundings(format!("its form is {form}, of a later version")))
            }
            Err(Unusable::Schema(error)) => Err(Failure::Surroundings(words(&error))),
        }
    }

    fn succeed(&self, group: &mut [Item], refusals: Refusals) {
        let refused = refusals.iter().flatten().count();
        let mut ended = None;
        self.shared.settled(|health| {
            health.written += (group.len() - refused) as u64;
            health.refused += refused as u64;
            health.commits += 1;
            health.bytes = self.database.bytes();
            ended = health.trouble.take();
            health.trouble_since_s = None;
        });
        if ended.is_some() {
            tracing::info!("the store can be written again");
        }
        for (item, refusal) in group.iter_mut().zip(refusals) {
            match refusal {
                None => item.tell(Ok(())),
                Some(why) => {
                    tracing::error!("the store refused to write something: {why}");
                    item.tell(Err(StoreError::Refused(why)));
                }
            }
        }
    }

    fn fail(&mut self, mut group: Vec<Item>, failure: Failure) {
        let why = match failure {
            Failure::Surroundings(why) => why,
            Failure::Database(why) => {
                // The next opening finds it so, moves it aside and begins a new one.
                self.set_aside(&why);
                why
            }
        };
        let trouble = format!("cannot write {}: {why}", self.database.path.display());
        if self.shared.fails(&trouble) {
            tracing::error!(
                "{trouble}; enforcement goes on, what is to be kept waits in memory and is tried again"
            );
        }
        for item in &mut group {
            item.tell(Err(StoreError::Waiting(trouble.clone())));
        }
        self.shared.put_back(group);
    }

    fn set_aside(&mut self, why: &str) {
        self.open = None;
        let unusable = Unusable::Failed(Fault::Database, why.to_owned());
        match self.database.set_aside(&unusable) {
            Ok(said) => self.shared.with_health(|health| {
                health.set_aside = Some(said);
            }),
            Err(error) => {
                tracing::error!("cannot move {} aside: {error}", self.database.path.display());
            }
        }
    }
}

/// Carries one work out. What fails by its own fault leaves nothing behind.
fn carry_out(transaction: &Transaction<'_>, item: &Item) -> Result<Option<String>, Failure> {
    transaction.execute_batch("SAVEPOINT work")?;
    let done = catch_unwind(AssertUnwindSafe(|| (item.work)(transaction)));
    let refusal = match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) if fault(&error) == Fault::Work => Some(error.to_string()),
        Ok(Err(error)) => return Err(error.into()),
        // Already reported by the panic hook.
        Err(_) => Some("it panicked".into()),
    };
    if refusal.is_some() {
        transaction.execute_batch("ROLLBACK TO work")?;
    }
    transaction.execute_batch("RELEASE work")?;
    Ok(refusal)
}
