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
/// browser could otherwise have its users refused. How many use it, and since when, is not: a
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
        let Some(value) = value else {
            return format!("{} is unknown", self.name);
        };
        let value = match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Share => format!("{:.0} %", value * 100.0),
            Unit::Ratio => format!("{value:.2}"),
            Unit::Seconds if value < 0.1 => format!("{:.1} ms", value * 1000.0),
            Unit::Seconds if value < 10.0 => format!("{value:.2} s"),
            Unit::Seconds => format!("{value:.0} s"),
            Unit::Country => (value as u16).to_be_bytes().map(char::from).iter().collect(),
            Unit::Asn => format!("AS{value:.0}"),
        };
        format!("{value} {}", self.meaning)
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

const MANY: f64 = f64::INFINITY;

features! {
    Connections1s, "source.connections_1s", Count, MANY, Authentic, "1 s",
        "new connections in the last second";
    Connections10s, "source.connections_10s", Count, MANY, Authentic, "10 s",
        "new connections in the last 10 seconds";
    Connections60s, "source.connections_60s", Count, MANY, Authentic, "60 s",
        "new connections in the last minute";
    BusySeconds30s, "source.busy_seconds_30s", Count, 30.0, Authentic, "30 s",
        "of the last 30 seconds had a new connection";
    OpenConnections, "source.open_connections", Count, MANY, Authentic, "now",
        "connections open";
    StalledConnections, "source.stalled_connections", Count, MANY, Authentic, "now",
        "open connections with a request that trickles in and never ends";
    StalledShare, "source.stalled_share", Share, 1.0, Authentic, "now, from 8 open connections",
        "of the open connections carry a request that never ends";
    ConnectionIntervalCv, "source.connection_interval_cv", Ratio, MANY, Authentic,
        "last 64 connections, from 16",
        "is the spread of the time between connections (standard deviation over mean)";
    ConnectionDurationP50, "source.connection_duration_p50", Seconds, MANY, Authentic,
        "last 64 closed connections, from 16",
        "is how long the median connection lasts";
    ExchangesPerConnectionP50, "source.exchanges_per_connection_p50", Count, MANY, Authentic,
        "last 64 closed connections, from 16",
        "requests in the median connection";
    RequestBytesCv, "source.request_bytes_cv", Ratio, MANY, Authentic,
        "last 64 closed connections, from 16",
        "is the spread of bytes sent per connection (middle 80 %, standard deviation over mean)";
    ResponseBytesCv, "source.response_bytes_cv", Ratio, MANY, Authentic,
        "last 64 closed connections, from 16",
        "is the spread of bytes received per connection (middle 80 %, standard deviation over mean)";
    Age, "source.age", Seconds, MANY, Authentic, "since its first connection",
        "since its first connection";
    Fingerprints, "source.fingerprints", Count, 32.0, Authentic, "the latest 32",
        "distinct TLS fingerprints (resumption and padding apart)";
    Fingerprints1h, "source.fingerprints_1h", Count, 32.0, Authentic, "1 h, the latest 32",
        "distinct TLS fingerprints in the last hour (resumption and padding apart)";
    CommonFingerprintShare, "source.common_fingerprint_share", Share, 1.0, Authentic,
        "of the latest 32",
        "of its TLS fingerprints are common: eight or more senders use them";
    FingerprintSenders, "source.fingerprint_senders", Count, 128.0, Authentic,
        "since its fingerprint is known, up to 128",
        "senders (IPv4 addresses, IPv6 /48s) use its latest TLS fingerprint";
    FingerprintConnections, "source.fingerprint_connections", Count, MANY, Forgeable,
        "since its fingerprint is known",
        "connections of all senders with its latest TLS fingerprint";
    FingerprintConnections60s, "source.fingerprint_connections_60s", Count, MANY, Forgeable, "60 s",
        "connections of all senders with its latest TLS fingerprint in the last minute";
    FingerprintShare, "source.fingerprint_share", Share, 1.0, Forgeable,
        "this hour and the one before, from 64 connections",
        "of the services' TLS connections have its latest fingerprint";
    FingerprintAge, "source.fingerprint_age", Seconds, MANY, Authentic,
        "since its fingerprint is known",
        "since its latest TLS fingerprint was first seen from anybody";
    ResumptionShare, "source.resumption_share", Share, 1.0, Authentic,
        "last 64 chances, from 8, and only where another sender ever resumed",
        "of the connections that could have resumed a TLS session offered to";
    HelloDelayP50, "source.hello_delay_p50", Seconds, MANY, Authentic,
        "last 64 TLS connections, from 16",
        "is how long the median connection waits with its ClientHello";
    ConflictingHellos, "source.conflicting_hellos", Count, MANY, Authentic,
        "since its first connection",
        "ClientHellos of which a part came twice and differed";
    SynSystems1h, "source.syn_systems_1h", Count, 8.0, Forgeable, "1 h, the latest 8",
        "operating systems that its SYNs look like";
    QuicDisagreements, "source.quic_disagreements", Count, 8.0, Forgeable,
        "since its first connection",
        "ways to order cipher suites over QUIC that it never has over TCP: another TLS library";
    DistinctPorts, "source.distinct_ports", Count, MANY, Forgeable, "60 s",
        "distinct ports tried";
}

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
