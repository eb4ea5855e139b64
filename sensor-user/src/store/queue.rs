//! What waits to be written, bounded in number and in bytes, and how the store is.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{Ack, StoreError, StoreHealth, Work};

/// Most works that wait.
pub(super) const MOST_ITEMS: usize = 16_384;

/// Most memory that they need. One that is larger than this alone is taken if nothing else waits.
pub(super) const MOST_BYTES: usize = 96 << 20;

/// Works in one transaction.
const MOST_IN_GROUP: usize = 4096;

/// A work, and who wants to know.
pub(super) struct Item {
    pub(super) work: Work,
    pub(super) ack: Option<Ack>,
    pub(super) bytes: usize,
}

impl Item {
    /// Tells whoever waits, once.
    pub(super) fn tell(&mut self, became: Result<(), StoreError>) {
        if let Some(ack) = self.ack.take() {
            ack(became);
        }
    }
}

/// Shared by the thread and by everybody who hands something over.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    // Taken out by the thread and not yet settled.
    taken: (usize, usize),
    closed: Option<Instant>,
    health: StoreHealth,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("health", &self.health()).finish()
    }
}

/// What the thread is to do next.
pub(super) enum Next {
    /// Write these; there may be none while writing fails, which is then tried.
    Group(Vec<Item>),
    /// End.
    End,
}

impl Queue {
    fn has_room(&self, bytes: usize) -> bool {
        let (items, taken) = self.taken;
        let waiting = self.bytes + taken;
        self.items.len() + items < MOST_ITEMS && (waiting == 0 || waiting + bytes <= MOST_BYTES)
    }
}

impl Shared {
    // Every change leaves the queue whole, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was taken.
    pub(super) fn push(&self, mut item: Item) -> bool {
        let mut queue = self.lock();
        if queue.closed.is_none() && queue.has_room(item.bytes) {
            queue.bytes += item.bytes;
            queue.items.push_back(item);
            drop(queue);
            self.changed.notify_all();
            return true;
        }
        queue.health.lost += 1;
        let error = match (queue.closed, &queue.health.trouble) {
            (Some(_), _) => StoreError::Ended,
            (None, Some(trouble)) => StoreError::Full(trouble.clone()),
            (None, None) => StoreError::Full("more came than the disk takes".into()),
        };
        drop(queue);
        item.tell(Err(error));
        false
    }

    pub(super) fn has_room(&self) -> bool {
        let queue = self.lock();
        // Half of it is kept for those who cannot wait.
        queue.items.len() + queue.taken.0 < MOST_ITEMS / 2
            && queue.bytes + queue.taken.1 < MOST_BYTES / 2
    }

    /// Waits for something to write; at most so long, if writing fails at present.
    pub(super) fn next(&self, pause: Option<Duration>) -> Next {
        let mut queue = self.lock();
        let until = pause.map(|pause| Instant::now() + pause);
        loop {
            let now = Instant::now();
            if let Some(deadline) = queue.closed
                && (queue.items.is_empty() || now >= deadline)
            {
                return Next::End;
            }
            let is_due = match until {
                // While writing fails, what comes in does not hurry it.
                Some(until) => now >= until || queue.closed.is_some(),
                None => !queue.items.is_empty(),
            };
            if is_due {
                let count = queue.items.len().min(MOST_IN_GROUP);
                let group: Vec<Item> = queue.items.drain(..count).collect();
                let bytes = group.iter().map(|item| item.bytes).sum();
                queue.bytes -= bytes;
                queue.taken = (group.len(), bytes);
                return Next::Group(group);
            }
            queue = match until {
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A group was dealt with.
    pub(super) fn settled(&self, change: impl FnOnce(&mut StoreHealth)) {
        let mut queue = self.lock();
        queue.taken = (0, 0);
        change(&mut queue.health);
    }

    /// A group could not be written: it waits again, before everything else.
    pub(super) fn put_back(&self, group: Vec<Item>) {
        let mut queue = self.lock();
        queue.taken = (0, 0);
        for item in group.into_iter().rev() {
            queue.bytes += item.bytes;
            queue.items.push_front(item);
        }
    }

    /// Writing fails. Whether that is news.
    pub(super) fn fails(&self, trouble: &str) -> bool {
        let mut queue = self.lock();
        let health = &mut queue.health;
        let is_news = health.trouble.as_deref() != Some(trouble);
        if health.trouble.is_none() {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            health.trouble_since_s = Some(since.unwrap_or_default().as_secs());
        }
        health.trouble = Some(trouble.to_owned());
        is_news
    }

    pub(super) fn with_health(&self, change: impl FnOnce(&mut StoreHealth)) {
        change(&mut self.lock().health);
    }

    pub(super) fn health(&self) -> StoreHealth {
        let queue = self.lock();
        let mut health = queue.health.clone();
        health.queued = queue.items.len() + queue.taken.0;
        health.queued_bytes = queue.bytes + queue.taken.1;
        health
    }

    /// Takes nothing more; what is queued has so long.
    pub(super) fn close(&self, patience: Duration) {
        let mut queue = self.lock();
        queue.closed.get_or_insert_with(|| Instant::now() + patience);
        drop(queue);
        self.changed.notify_all();
    }

    /// What was never written; counted as lost.
    pub(super) fn abandon(&self) -> Vec<Item> {
        let mut queue = self.lock();
        let left: Vec<Item> = queue.items.drain(..).collect();
        queue.bytes = 0;
        queue.health.lost += left.len() as u64;
        left
    }
}
