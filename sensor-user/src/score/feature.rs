//! Features: what a source is measured by. One registry that policies, scores and documentation
//! read.
//!
//! A feature that cannot be known (too few samples) is *unknown*: no comparison with it is met,
//! and neither is its negation.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::registry::FeatureId;

/// Whether somebody else could have made a feature what it is.
///
/// How often a fingerprint is used is forgeable too, though each use was proven: whoever imitates a
/// browser could otherwise have its users refused. So is what others of a network do, or all who come
/// to a service: neighbours could otherwise have each other refused. How many use it, and since when, is not: a
/// stranger can only make it look more common and older than it is, and neither counts against
/// anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Measured on proven connections, from in-window segments: the source's own doing.
    Authentic,
    /// Anybody can send it in the source's name: it can at most limit the source's unproven SYNs.
    Forgeable,
}

/// What a feature counts in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A whole number.
    Count,
    /// From 0 to 1.
    Share,
    /// A quotient, from 0 without an upper end.
    Ratio,
    /// Seconds.
    Seconds,
    /// A country by its ISO 3166 code of two capital letters, the first in the upper byte.
    Country,
    /// The number of an autonomous system.
    Asn,
}

/// A feature as policies name it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FeatureInfo {
    /// Its number.
    #[serde(skip)]
    pub id: FeatureId,
    /// As policies write it.
    pub name: Cow<'static, str>,
    /// What it counts in.
    pub unit: Unit,
    /// Over which time or which samples.
    pub window: Cow<'static, str>,
    /// Who could have made it what it is.
    pub evidence: Evidence,
    /// Largest value that it can have.
    pub most: f64,
    /// What it is, for the documentation; and in an explanation, after its value.
    pub meaning: Cow<'static, str>,
}

impl FeatureInfo {
    /// A measured value in words: "84 new connections in the last 10 seconds".
    #[must_use]
    pub fn explain(&self, value: Option<f64>) -> String {
        match value {
            Some(value) => format!("{} {}", self.value(value), self.meaning),
            None => format!("{} is unknown", self.name),
        }
    }

    /// A measured value with its unit: "84", "50 %", "1.20 s".
    #[must_use]
    pub fn value(&self, value: f64) -> String {
        match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Share => format!("{:.0} %", value * 100.0),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Seconds if value < 0.1 => format!("{:.1} ms", value * 1000.0),
            Unit::Seconds if value < 10.0 => format!("{value:.2} s"),
            Unit::Seconds => format!("{value:.0} s"),
            Unit::Country => (value as u16).to_be_bytes().map(char::from).iter().collect(),
            Unit::Asn => format!("AS{value:.0}"),
        }
    }
}

macro_rules! features {
    ($($name:ident, $text:literal, $unit:ident, $most:expr, $evidence:ident, $window:literal, $meaning:literal;)+) => {
        /// A feature.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Feature {
            $(#[doc = $meaning] $name,)+
        }

        /// Every feature, in the order of [`Feature`].
        pub const FEATURES: &[&FeatureInfo] = &[$(Feature::$name.info(),)+];

        impl Feature {
            /// Every one, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What the registry says of it.
            #[must_use]
            pub const fn info(self) -> &'static FeatureInfo {
                match self {
                    $(Self::$name => const { &FeatureInfo {
                        id: FeatureId::built_in(Self::$name),
                        name: Cow::Borrowed($text),
                        unit: Unit::$unit,
                        window: Cow::Borrowed($window),
                        evidence: Evidence::$evidence,
                        most: $most,
                        meaning: Cow::Borrowed($meaning),
                    } },)+
                }
            }
        }
    };
}

mod table;

pub use self::table::{FEATURES, Feature};

/// How many features there are.
pub const FEATURE_COUNT: usize = FEATURES.len();

impl Feature {
    /// The feature of a name as policies write it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let index = FEATURES.iter().position(|info| info.name == name)?;
        Self::ALL.get(index).copied()
    }
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.info().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (index, info) in FEATURES.iter().enumerate() {
            let feature = Feature::from_name(&info.name).unwrap();
            assert_eq!((feature as usize, info.id.index()), (index, index));
            assert_eq!(feature.info().name, info.name);
        }
    }

    #[test]
    fn the_page_on_policies_lists_every_feature_as_it_is() {
        let page = include_str!("../../../docs/policy.md");
        for info in FEATURES {
            let name = format!("`{}`", info.name);
            let row = page.lines().find(|line| line.starts_with('|') && line.contains(&name));
            let row = row.unwrap_or_else(|| panic!("{name} is not on the page"));
            let evidence = format!("| {:?} |", info.evidence).to_lowercase();
            assert!(row.ends_with(&evidence), "{row}");
        }
    }

    #[test]
    fn explains_values_with_their_unit() {
        assert_eq!(
            Feature::Connections10s.info().explain(Some(84.0)),
            "84 new connections in the last 10 seconds"
        );
        assert_eq!(
            Feature::StalledShare.info().explain(Some(0.954)),
            "95 % of the open connections carry a request that never ends"
        );
        assert_eq!(
            Feature::RequestBytesCv.info().explain(None),
            "source.request_bytes_cv is unknown"
        );
    }
}
