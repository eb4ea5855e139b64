//! Keeps what is known of addresses up to date, on a thread of its own: files are looked at once a
//! second, addresses are asked in time, and a new [`Snapshot`] is posted when one of them changed.
//!
//! What there is without asking anybody is there when [`Keeper::start`] returns.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Board, KnownFeed, ReputationSpec, ReputationStatus, Snapshot,
    feed::{self, Feed, Now},
    fetch::Fetcher,
    geo::{self, GeoFile, Tells},
    kept::Kept,
    safety::Protected,
    status::GeoStatus,
    watch::Watched,
};
use crate::system::sandbox;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What the daemon wants to be known. The newest wish counts.
#[derive(Clone, Debug, Default)]
struct Wish {
    spec: ReputationSpec,
    protected: Protected,
    revision: u64,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    wish: Mutex<Wish>,
    wake: Condvar,
    board: Arc<Board>,
    status: Mutex<ReputationStatus>,
}

/// The thread's handle.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Reads files and the copies in `folder`, and starts the thread.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        spec: ReputationSpec,
        folder: PathBuf,
        protected: Protected,
        fetcher: Fetcher,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let wish = Wish { spec, protected, ..Wish::default() };
        let mut worker = Worker::new(Kept::new(folder), fetcher);
        worker.follow(&wish);
        worker.look();
        worker.post(&shared);
        *locked(&shared.wish) = wish;
        let theirs = Arc::clone(&shared);
        let keep = move || match sandbox::enter(sandbox::Part::Feeds) {
            Ok(()) => worker.run(&theirs),
            Err(unwalled) => tracing::error!("feeds are not kept up to date: {unwalled}"),
        };
        let thread = thread::Builder::new().name("weir-feeds".into()).spawn(keep)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Where snapshots are posted.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.shared.board
    }

    /// How feeds are.
    #[must_use]
    pub fn status(&self) -> ReputationStatus {
        locked(&self.shared.status).clone()
    }

    /// Takes what another policy says. Lists that were refused are looked at again.
    pub fn replace(&self, spec: ReputationSpec) {
        self.wish(|wish| wish.spec = spec);
    }

    /// Takes other addresses that must not be listed.
    pub fn protect(&self, protected: Protected) {
        self.wish(|wish| wish.protected = protected);
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) {
        let mut wish = locked(&self.shared.wish);
        change(&mut wish);
        wish.revision += 1;
        self.shared.wake.notify_all();
    }
}

impl Drop for Keeper {
    /// Ends the thread. A question that is still open is not waited for.
    fn drop(&mut self) {
        self.wish(|wish| wish.is_over = true);
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Whoever panicked holding one of these locks left plain data.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread works with.
#[derive(Debug)]
struct Worker {
    feeds: Vec<Feed>,
    geo: Vec<Geo>,
    protected: Protected,
    kept: Kept,
    fetcher: Fetcher,
    revision: u64,
}

impl Worker {
    const fn new(kept: Kept, fetcher: Fetcher) -> Self {
        let protected = Protected { own: Vec::new(), proxies: Vec::new() };
        Self { feeds: Vec::new(), geo: Vec::new(), protected, kept, fetcher, revision: 0 }
    }

    fn run(mut self, shared: &Shared) {
        loop {
            let wish = {
                let wish = locked(&shared.wish);
                let is_known = |wish: &mut Wish| wish.revision == self.revision;
                let waited = shared.wake.wait_timeout_while(wish, EVERY, is_known);
                waited.unwrap_or_else(PoisonError::into_inner).0.clone()
            };
            if wish.is_over {
                return;
            }
            let is_other = wish.revision != self.revision;
            if is_other {
                self.follow(&wish);
            }
            if self.look() || is_other {
                self.post(shared);
            } else {
                self.tell(shared);
            }
            self.ask();
        }
    }

    /// Brings feeds and files in line with what is wanted.
    fn follow(&mut self, wish: &Wish) {
        self.revision = wish.revision;
        if self.protected != wish.protected {
            self.protected = wish.protected.clone();
            for feed in &mut self.feeds {
                feed.protect(&self.protected);
            }
        }
        let mut before = std::mem::take(&mut self.feeds);
        for spec in &wish.spec.feeds {
            let is_it = |feed: &Feed| {
                feed.spec().name == spec.name
                    && feed::source_of(feed.spec()) == feed::source_of(spec)
                    && feed.spec().file == spec.file
            };
            let feed = match before.iter().position(is_it) {
                Some(place) => {
                    let mut feed = before.swap_remove(place);
                    feed.adjust(spec.clone());
                    feed
                }
                None => Feed::new(spec.clone(), &self.kept, &self.protected),
            };
            self.feeds.push(feed);
        }
        let names: Vec<&str> = wish.spec.feeds.iter().map(|feed| &*feed.name).collect();
        self.kept.keep_only(&names);
        let files = [(&wish.spec.asn, Tells::Asn), (&wish.spec.country, Tells::Country)];
        let mut before = std::mem::take(&mut self.geo);
        for (path, tells) in files {
            let Some(path) = path else { continue };
            let is_it = |geo: &Geo| geo.tells == tells && geo.file.path() == path;
            let known = before.iter().position(is_it).map(|place| before.swap_remove(place));
            self.geo.push(known.unwrap_or_else(|| Geo::new(path.clone(), tells)));
        }
    }

    /// Says whether anything changed.
    fn look(&mut self) -> bool {
        let now = Now::new();
        let mut changed = false;
        for feed in &mut self.feeds {
            changed |= feed.look(now, &self.protected, &self.kept);
        }
        for geo in &mut self.geo {
            changed |= geo.look(now.wall);
        }
        changed
    }

    fn ask(&mut self) {
        let now = Now::new();
        for feed in self.feeds.iter_mut().filter(|feed| feed.is_due(now)) {
            feed.ask(&self.fetcher);
        }
    }

    fn post(&self, shared: &Shared) {
        let file = |tells| {
            let geo = self.geo.iter().find(|geo| geo.tells == tells);
            geo.and_then(|geo| geo.contents.clone())
        };
        let feeds = self.feeds.iter().map(|feed| KnownFeed::new(feed.spec(), feed.set().cloned()));
        let feeds = feeds.collect();
        let snapshot = Snapshot { feeds, asn: file(Tells::Asn), country: file(Tells::Country) };
        shared.board.post(snapshot);
        self.tell(shared);
    }

    fn tell(&self, shared: &Shared) {
        let status = ReputationStatus {
            feeds: self.feeds.iter().map(|feed| feed.status().clone()).collect(),
            geo: self.geo.iter().map(|geo| geo.status.clone()).collect(),
        };
        *locked(&shared.status) = status;
    }
}

/// An MMDB file and how it is.
#[derive(Debug)]
struct Geo {
    file: Watched,
    tells: Tells,
    contents: Option<Arc<GeoFile>>,
    status: GeoStatus,
}

impl Geo {
    fn new(path: PathBuf, tells: Tells) -> Self {
        let tells_text = match tells {
            Tells::Asn => "asn",
            Tells::Country => "country",
        };
        let status = GeoStatus {
            tells: tells_text.into(),
            file: path.display().to_string(),
            ..GeoStatus::default()
        };
        Self { file: Watched::new(path, geo::LARGEST_BYTES), tells, contents: None, status }
    }

    fn look(&mut self, now: SystemTime) -> bool {
        let contents = match self.file.read_if_new(now) {
            Ok(Some(contents)) => contents,
            Ok(None) => return false,
            Err(error) => {
                self.fail(error.to_string());
                return false;
            }
        };
        match GeoFile::new(contents, self.tells) {
            Ok(file) => {
                let built = file.built_at().duration_since(UNIX_EPOCH);
                self.status.built_at_unix_s = built.ok().map(|since| since.as_secs());
                self.status.error = None;
                self.contents = Some(Arc::new(file));
                true
            }
            Err(error) => {
                self.fail(error.to_string());
                false
            }
        }
    }

    fn fail(&mut self, why: String) {
        if self.status.error.as_ref() != Some(&why) {
            tracing::error!(file = %self.status.file, "{why}");
        }
        self.status.error = Some(why);
    }
}
