//! Why something said of a client is passed over, and how often each happened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Longer than a line may be.
    TooLong,
    /// Not written as it should be.
    NotUnderstood,
    /// A field that there is not.
    UnknownField,
    /// `signal` or the client's address is missing.
    Incomplete,
    /// No address where one should be.
    BadAddress,
    /// A proxy that named no client.
    NoClient,
    /// A signal that the Site does not declare.
    Undeclared,
    /// A service that the Site does not declare.
    UnknownService,
    /// A time that is none.
    BadTime,
    /// Of a time further back than anything is counted.
    TooOld,
    /// Applications said more than the loop could take.
    Crowded,
    /// More connections than there is room for.
    TooManyConnections,
}

impl Refusal {
    /// Every one, in order.
    pub const ALL: [Self; 12] = [
        Self::TooLong,
        Self::NotUnderstood,
        Self::UnknownField,
        Self::Incomplete,
        Self::BadAddress,
        Self::NoClient,
        Self::Undeclared,
        Self::UnknownService,
        Self::BadTime,
        Self::TooOld,
        Self::Crowded,
        Self::TooManyConnections,
    ];

    /// Its name in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotUnderstood => "not_understood",
            Self::UnknownField => "unknown_field",
            Self::Incomplete => "incomplete",
            Self::BadAddress => "bad_address",
            Self::NoClient => "no_client",
            Self::Undeclared => "undeclared",
            Self::UnknownService => "unknown_service",
            Self::BadTime => "bad_time",
            Self::TooOld => "too_old",
            Self::Crowded => "crowded",
            Self::TooManyConnections => "too_many_connections",
        }
    }

    /// What it means, and what to do.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::TooLong => "longer than a line may be",
            Self::NotUnderstood => "not JSON, or not written in the log's format: compare `format`",
            Self::UnknownField => "a field that messages do not have",
            Self::Incomplete => "`signal`, or `address` or `peer`, is missing",
            Self::BadAddress => "no IP address where the client's should be",
            Self::NoClient => {
                "came through a declared proxy that named no client: forward its header"
            }
            Self::Undeclared => "a signal that the Site does not declare",
            Self::UnknownService => "a service that the Site does not declare",
            Self::BadTime => "a time that is not written like 2027-06-30T12:00:00Z",
            Self::TooOld => "happened more than an hour ago",
            Self::Crowded => "applications sent more than could be looked at",
            Self::TooManyConnections => {
                "more connections to the stream socket than there is room for"
            }
        }
    }
}

/// How often each happened, and what was heard in all. Written by the reader's thread, read by the
/// loop.
#[derive(Debug, Default)]
pub struct Counters {
    messages: AtomicU64,
    lines: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// An application said something.
    pub fn message(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    /// A line of a log was read.
    pub fn line(&self) {
        self.lines.fetch_add(1, Relaxed);
    }

    /// It was passed over.
    pub fn refuse(&self, refusal: Refusal) {
        if let Some(count) = self.refused.get(refusal as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Messages of applications, refused ones included.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Lines of logs, refused ones included.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// How often a refusal happened.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.get(refusal as usize).map_or(0, |count| count.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            let counters = Counters::default();
            counters.refuse(refusal);
            let counted: Vec<Refusal> =
                Refusal::ALL.into_iter().filter(|it| counters.refused(*it) > 0).collect();
            assert_eq!(counted, [refusal]);
        }
    }
}
