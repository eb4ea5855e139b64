//! One feed: from its file or address to a set that may be used, or the reason why not.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    fetch::{self, Answer, FetchError, Fetcher, Validators, shown},
    kept::{About, Copy, Kept},
    list::{self, LARGEST_BYTES, ListError},
    prefixes::PrefixSet,
    safety::{self, Protected, Refusal},
    spec::FeedSpec,
    status::FeedStatus,
    watch::Watched,
};
use crate::system::sandbox;

/// After a failure an address is asked again sooner than usual: first after this.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// Why a text is not taken for a feed's list.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Rejection {
    /// It is no list.
    #[error("{0}")]
    List(#[from] ListError),
    /// It is one that must not be used.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// Reads a list and checks that it may be used, after `before` if there was one.
///
/// # Errors
/// Why it may not.
pub fn accept(
    text: &[u8],
    spec: &FeedSpec,
    before: Option<&PrefixSet>,
    protected: &Protected,
) -> Result<PrefixSet, Rejection> {
    let nets = list::parse(text, spec.format)?;
    let set = PrefixSet::new(&nets);
    safety::check(&nets, &set, before, spec.max_change, protected)?;
    Ok(set)
}

/// The times of one look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) monotonic: Instant,
}

impl Now {
    pub(super) fn new() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    fn unix_s(self) -> u64 {
        self.wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// A feed and how it is.
#[derive(Debug)]
pub(super) struct Feed {
    spec: FeedSpec,
    file: Option<Watched>,
    set: Option<Arc<PrefixSet>>,
    // Of the list in use, or of the one that was refused.
    validators: Validators,
    is_fetched: bool,
    due: Option<Instant>,
    failures: u32,
    fetching: Option<JoinHandle<Result<Answer, FetchError>>>,
    status: FeedStatus,
}

impl Feed {
    /// A feed, with the last good copy if there is one that may still be used.
    pub(super) fn new(spec: FeedSpec, kept: &Kept, protected: &Protected) -> Self {
        let status = FeedStatus {
            name: spec.name.to_string(),
            source: shown(&source_of(&spec)),
            ..FeedStatus::default()
        };
        let file = spec.file.clone().map(|path| Watched::new(path, LARGEST_BYTES));
        let mut feed = Self {
            file,
            set: None,
            validators: Validators::default(),
            is_fetched: false,
            due: None,
            failures: 0,
            fetching: None,
            status,
            spec,
        };
        if let Some(copy) = kept.read(&feed.spec.name, &source_of(&feed.spec)) {
            let nets = copy.set.prefixes();
            match safety::check(&nets, &copy.set, None, feed.spec.max_change, protected) {
                Ok(()) => feed.take_copy(copy),
                Err(refusal) => {
                    tracing::warn!(feed = %feed.spec.name, "its last good copy: {refusal}")
                }
            }
        }
        feed
    }

    fn take_copy(&mut self, copy: Copy) {
        self.validators = copy.about.validators();
        self.is_fetched = copy.about.is_fetched;
        self.status.read_at_unix_s = Some(copy.about.read_at_unix_s);
        self.status.changed_at_unix_s = Some(copy.about.changed_at_unix_s);
        self.put_in_use(copy.set);
    }

    pub(super) const fn spec(&self) -> &FeedSpec {
        &self.spec
    }

    pub(super) const fn status(&self) -> &FeedStatus {
        &self.status
    }

    pub(super) const fn set(&self) -> Option<&Arc<PrefixSet>> {
        self.set.as_ref()
    }

    /// Takes other settings for the same source: what was refused under the ones before is looked at
    /// again.
    pub(super) fn adjust(&mut self, spec: FeedSpec) {
        if self.spec != spec {
            self.look_anew();
        }
        self.spec = spec;
    }

    fn look_anew(&mut self) {
        self.validators = Validators::default();
        self.due = None;
        if let Some(file) = &mut self.file {
            file.forget();
        }
    }

    /// Other addresses are to be protected: a list with one of them goes out of use. Says whether one
    /// did.
    pub(super) fn protect(&mut self, protected: &Protected) -> bool {
        let Some(set) = self.set.clone() else {
            self.look_anew();
            return false;
        };
        let nets = set.prefixes();
        let Err(refusal) = safety::check(&nets, &set, None, self.spec.max_change, protected) else {
            return false;
        };
        self.set = None;
        self.look_anew();
        self.refuse(&refusal.to_string());
        self.status = FeedStatus {
            prefixes: 0,
            v4_addresses: 0,
            v6_networks: 0,
            read_at_unix_s: None,
            ..self.status.clone()
        };
        true
    }

    /// Looks at the file and at what was fetched, without waiting for anything. Says whether another
    /// list is in use.
    pub(super) fn look(&mut self, now: Now, protected: &Protected, kept: &Kept) -> bool {
        self.look_at_file(now, protected, kept) | self.look_at_answer(now, protected, kept)
    }

    fn look_at_file(&mut self, now: Now, protected: &Protected, kept: &Kept) -> bool {
        if self.is_fetched {
            // The file was for the time before.
            return false;
        }
        let Some(file) = &mut self.file else { return false };
        match file.read_if_new(now.wall) {
            Ok(None) => {
                self.status.error = None;
                false
            }
            Ok(Some(text)) => {
                self.status.error = None;
                self.offer(&text, Validators::default(), false, now, protected, kept)
            }
            Err(error) => {
                self.fail(&error.to_string());
                false
            }
        }
    }

    fn look_at_answer(&mut self, now: Now, protected: &Protected, kept: &Kept) -> bool {
        if !self.fetching.as_ref().is_some_and(JoinHandle::is_finished) {
            return false;
        }
        let Some(Ok(answer)) = self.fetching.take().map(JoinHandle::join) else { return false };
        let usual = Duration::from_secs(self.spec.refresh_s);
        match answer {
            Ok(answer) => {
                (self.failures, self.status.error) = (0, None);
                self.due = Some(now.monotonic + usual);
                self.take(answer, now, protected, kept)
            }
            Err(error) => {
                let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(10));
                self.due = Some(now.monotonic + wait.min(usual));
                self.failures += 1;
                // Each question counts, and each second that a file is missing does not.
                self.status.error = None;
                self.fail(&error.to_string());
                false
            }
        }
    }

    fn take(&mut self, answer: Answer, now: Now, protected: &Protected, kept: &Kept) -> bool {
        match answer {
            Answer::NotModified => {
                if self.status.refused.is_none() {
                    self.status.read_at_unix_s = Some(now.unix_s());
                }
                false
            }
            Answer::List { text, validators } => {
                self.offer(&text, validators, true, now, protected, kept)
            }
        }
    }

    /// Whether the address should be asked now.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let is_time = self.due.is_none_or(|due| due <= now.monotonic);
        self.spec.url.is_some() && self.fetching.is_none() && is_time
    }

    /// Asks the address, on a thread that lives no longer than the question.
    pub(super) fn ask(&mut self, fetcher: &Fetcher) {
        let Some(url) = self.spec.url.clone() else { return };
        let (fetcher, validators) = (fetcher.clone(), self.validators.clone());
        let name = format!("weir-fetch-{}", self.spec.name);
        let ask = move || {
            sandbox::enter(sandbox::Part::Fetch { port: fetch::port_of(&url) })?;
            fetcher.fetch(&url, &validators)
        };
        match thread::Builder::new().name(name.chars().take(15).collect()).spawn(ask) {
            Ok(thread) => self.fetching = Some(thread),
            Err(error) => self.fail(&format!("cannot start a thread: {error}")),
        }
    }

    fn offer(
        &mut self,
        text: &[u8],
        validators: Validators,
        is_fetched: bool,
        now: Now,
        protected: &Protected,
        kept: &Kept,
    ) -> bool {
        let set = match accept(text, &self.spec, self.set.as_deref(), protected) {
            Ok(set) => set,
            Err(rejection) => {
                // Said back to the server, so that it is not sent again and again.
                self.validators = validators;
                self.refuse(&rejection.to_string());
                return false;
            }
        };
        let is_new = self.set.as_deref() != Some(&set);
        self.status.refused = None;
        self.status.read_at_unix_s = Some(now.unix_s());
        if is_new || self.status.changed_at_unix_s.is_none() {
            self.status.changed_at_unix_s = Some(now.unix_s());
        }
        (self.validators, self.is_fetched) = (validators, is_fetched);
        self.keep(&set, kept);
        if is_new {
            tracing::info!(feed = %self.spec.name, ranges = set.len(), "feed read");
            self.put_in_use(set);
        }
        is_new
    }

    fn keep(&self, set: &PrefixSet, kept: &Kept) {
        let about = About {
            source: source_of(&self.spec),
            is_fetched: self.is_fetched,
            etag: self.validators.etag.clone(),
            last_modified: self.validators.last_modified.clone(),
            read_at_unix_s: self.status.read_at_unix_s.unwrap_or_default(),
            changed_at_unix_s: self.status.changed_at_unix_s.unwrap_or_default(),
            ..About::default()
        };
        if let Err(error) = kept.write(&self.spec.name, &Copy { set: set.clone(), about }) {
            tracing::warn!(feed = %self.spec.name, "{error}; after a restart it is read anew");
        }
    }

    fn put_in_use(&mut self, set: PrefixSet) {
        let size = set.size();
        self.status.prefixes = set.len();
        self.status.v4_addresses = u64::try_from(size.v4).unwrap_or(u64::MAX);
        self.status.v6_networks = u64::try_from(size.v6).unwrap_or(u64::MAX);
        self.set = Some(Arc::new(set));
    }

    fn refuse(&mut self, why: &str) {
        self.status.refusals += 1;
        if self.status.refused.as_deref() != Some(why) {
            tracing::error!(feed = %self.spec.name, "list refused: {why}");
        }
        self.status.refused = Some(why.to_owned());
    }

    fn fail(&mut self, why: &str) {
        if self.status.error.as_deref() != Some(why) {
            self.status.errors += 1;
            tracing::warn!(feed = %self.spec.name, "{why}");
        }
        self.status.error = Some(why.to_owned());
    }
}

/// What a feed comes from: an address rather than the file that stands in for it.
pub(super) fn source_of(spec: &FeedSpec) -> String {
    let file = || spec.file.as_deref().map_or("", |file| file.to_str().unwrap_or_default());
    spec.url.clone().unwrap_or_else(|| file().to_owned())
}

/// Reads a feed's file once, for those that have no daemon: replay, tests, `weir check`.
///
/// # Errors
/// Why it cannot be used.
pub fn read_file(spec: &FeedSpec, path: &Path) -> Result<PrefixSet, String> {
    let mut file = Watched::new(path.to_owned(), LARGEST_BYTES);
    let text = file.read_if_new(SystemTime::now()).map_err(|error| error.to_string())?;
    accept(&text.unwrap_or_default(), spec, None, &Protected::default())
        .map_err(|rejection| format!("{}: {rejection}", path.display()))
}
