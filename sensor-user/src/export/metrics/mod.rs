//! Metrics in the OpenMetrics text form, at `GET /metrics` of the control socket.
//!
//! A page is made of one [`Status`], so that figures on it fit together, and what `weir status` says
//! is what a graph says. Labels have few values, all from the policy or from Weir's own lists:
//! reasons, services, feeds, maps; never an address, nor anything else that a client chooses. A
//! family is on every page, even while it has no figure yet.

mod families;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use crate::api::message::Status;

/// The content type of a page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What all names begin with.
const PREFIX: &str = "weir";

/// Whether a figure only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It grows, from 0 at a start.
    Counter,
    /// It is what it is now.
    Gauge,
}

/// Figures of one name.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    unit: Option<&'static str>,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    labels: Vec<String>,
    value: Value,
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// A count.
    Whole(u64),
    /// Anything else.
    Real(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Whole(count as u64)
    }
}

impl From<bool> for Value {
    fn from(holds: bool) -> Self {
        Self::Whole(holds.into())
    }
}

impl From<f64> for Value {
    fn from(figure: f64) -> Self {
        Self::Real(figure)
    }
}

impl Family {
    /// A count that grows; `_total` is appended to its name.
    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// A figure that comes and goes.
    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, unit: None, kind, help, labels: &[], samples: Vec::new() }
    }

    /// In this unit, which is appended to its name.
    pub(crate) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Told apart by these.
    pub(crate) const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// With one figure more; as many `labels` as the family has.
    pub(crate) fn with<L: AsRef<str>>(
        mut self,
        labels: impl IntoIterator<Item = L>,
        value: impl Into<Value>,
    ) -> Self {
        let labels = labels.into_iter().map(|label| label.as_ref().to_owned()).collect();
        self.samples.push(Sample { labels, value: value.into() });
        self
    }

    /// With the one figure of a family without labels.
    pub(crate) fn is(self, value: impl Into<Value>) -> Self {
        self.with::<&str>([], value)
    }

    /// With a figure of each of these.
    pub(crate) fn each<T, const N: usize>(
        self,
        things: impl IntoIterator<Item = T>,
        figure: impl Fn(&T) -> ([String; N], Value),
    ) -> Self {
        things.into_iter().fold(self, |family, thing| {
            let (labels, value) = figure(&thing);
            family.with(labels, value)
        })
    }

    /// Its name as Prometheus shows it.
    fn full_name(&self) -> String {
        let unit = self.unit.map_or_else(String::new, |unit| format!("_{unit}"));
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }

    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let unit = self.unit.map(|unit| Unit::Other(unit.to_owned()));
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut metric = encoder.encode_descriptor(self.name, self.help, unit.as_ref(), kind)?;
        if self.labels.is_empty() {
            let only = self.samples.first();
            return only.map_or(Ok(()), |sample| sample.value.write(self.kind, metric));
        }
        for sample in &self.samples {
            let labels: Vec<(&str, &str)> =
                self.labels.iter().copied().zip(sample.labels.iter().map(String::as_str)).collect();
            sample.value.write(self.kind, metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Value {
    fn write(self, kind: Kind, encoder: MetricEncoder<'_>) -> fmt::Result {
        match (kind, self) {
            (Kind::Counter, Self::Whole(count)) => ConstCounter::new(count).encode(encoder),
            (Kind::Counter, Self::Real(count)) => ConstCounter::new(count).encode(encoder),
            (Kind::Gauge, Self::Whole(figure)) => ConstGauge::new(figure).encode(encoder),
            (Kind::Gauge, Self::Real(figure)) => ConstGauge::new(figure).encode(encoder),
        }
    }
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.write(&mut encoder))
    }
}

/// All metrics.
#[must_use]
pub fn page(status: &Status) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Page(families::all(status))));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

/// All families as rows of a Markdown table, for the page of the documentation.
#[must_use]
pub fn rows(status: &Status) -> String {
    let row = |family: &Family| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        format!("| `{}` | {kind} | {} | {} |\n", family.full_name(), labels.join(", "), family.help)
    };
    families::all(status).iter().map(row).collect()
}
