//! Every feature that a policy can name: the product's own, and those that a Site declares.

use super::feature::{Evidence, FEATURES, Feature, FeatureInfo};

/// A feature by its number in a [`Registry`]: the product's own first, in the order of
/// [`FEATURES`], then the declared ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FeatureId(u16);

impl FeatureId {
    /// The number of one of the product's own.
    #[must_use]
    pub const fn built_in(feature: Feature) -> Self {
        Self(feature as u16)
    }

    /// The number of the `nth` declared one.
    #[must_use]
    pub const fn declared(nth: u16) -> Self {
        Self((FEATURES.len() as u16).saturating_add(nth))
    }

    /// Its place in a registry.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The product's own feature that it is; `None`: a declared one.
    #[must_use]
    pub fn as_built_in(self) -> Option<Feature> {
        Feature::ALL.get(self.index()).copied()
    }

    /// Which of the declared ones it is; `None`: one of the product's own.
    #[must_use]
    pub const fn as_declared(self) -> Option<usize> {
        self.index().checked_sub(FEATURES.len())
    }
}

impl From<Feature> for FeatureId {
    fn from(feature: Feature) -> Self {
        Self::built_in(feature)
    }
}

/// Whom a declared feature is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// The source that is judged.
    Source,
    /// The entity (account, token) that the source named last.
    Entity,
    /// The service.
    Service,
}

/// What a declared feature counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Counted {
    /// Signals.
    Signals,
    /// Distinct entities in them.
    Entities,
    /// Distinct endpoints in them.
    Endpoints,
    /// Distinct sources that sent them.
    Sources,
}

/// How a declared feature is measured: one kind of signal, about one subject, over one window.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalFeature {
    /// Index of the signal among those that the Site declares.
    pub signal: u16,
    /// About whom.
    pub subject: Subject,
    /// What is counted.
    pub counted: Counted,
    /// Over how long.
    pub window_ns: u64,
}

/// What a declared feature reads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Declared {
    /// What applications said.
    Signal(SignalFeature),
    /// Whether a feed lists the source (1 or 0): index among the Site's feeds.
    Feed(u16),
}

/// Every feature that a policy can name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Registry {
    declared: Vec<(FeatureInfo, Declared)>,
}

impl Registry {
    /// Adds a declared feature. `info.id` is set.
    pub fn declare(&mut self, info: FeatureInfo, measured: Declared) -> FeatureId {
        let id = FeatureId::declared(u16::try_from(self.declared.len()).unwrap_or(u16::MAX));
        self.declared.push((FeatureInfo { id, ..info }, measured));
        id
    }

    /// The feature of a name as policies write it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<FeatureId> {
        self.iter().find(|info| info.name == name).map(|info| info.id)
    }

    /// What is said of a feature; `None` only for one of another registry.
    #[must_use]
    pub fn info(&self, id: FeatureId) -> Option<&FeatureInfo> {
        match id.as_built_in() {
            Some(feature) => Some(feature.info()),
            None => self.declared.get(id.as_declared()?).map(|(info, _)| info),
        }
    }

    /// How a declared feature is measured.
    #[must_use]
    pub fn measured(&self, id: FeatureId) -> Option<&Declared> {
        self.declared.get(id.as_declared()?).map(|(_, measured)| measured)
    }

    /// Whether somebody else could have made a feature what it is.
    #[must_use]
    pub fn evidence(&self, id: FeatureId) -> Evidence {
        self.info(id).map_or(Evidence::Forgeable, |info| info.evidence)
    }

    /// A measured value in words.
    #[must_use]
    pub fn explain(&self, id: FeatureId, value: Option<f64>) -> String {
        self.info(id).map_or_else(String::new, |info| info.explain(value))
    }

    /// Every feature, in order of its number.
    pub fn iter(&self) -> impl Iterator<Item = &FeatureInfo> {
        FEATURES.iter().copied().chain(self.declared.iter().map(|(info, _)| info))
    }

    /// The declared ones: how each is measured, in order.
    pub fn declared(&self) -> impl Iterator<Item = &Declared> {
        self.declared.iter().map(|(_, measured)| measured)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        FEATURES.len() + self.declared.len()
    }

    /// Whether there is none: never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }
}
