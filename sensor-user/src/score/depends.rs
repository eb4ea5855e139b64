//! Which features an event can change, so that only rules are asked that it could have made true.
//!
//! A rule that was not met stays so as long as nothing that it reads changed. Time changes values too:
//! windows run empty and things grow older. What only time makes true is looked at with the source's
//! next event of a kind that changes it.

use super::feature::Feature;

/// What changed, as a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Touched(u8);

impl Touched {
    pub(super) const NOTHING: Self = Self(0);
    /// A connection came.
    pub(super) const ARRIVALS: Self = Self(1 << 0);
    /// A connection ended or went on.
    pub(super) const CONTENTS: Self = Self(1 << 1);
    /// A connection stalled.
    pub(super) const STALLS: Self = Self(1 << 2);
    /// A ClientHello was read.
    pub(super) const HELLOS: Self = Self(1 << 3);
    /// Something came that proves nothing.
    pub(super) const UNPROVEN: Self = Self(1 << 4);
    /// An application said something.
    pub(super) const SIGNALS: Self = Self(1 << 5);
    /// SYNs press on a service.
    pub(super) const PRESSURE: Self = Self(1 << 6);
    pub(super) const EVERYTHING: Self = Self(u8::MAX);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Feature {
    /// Which events change it.
    pub(super) const fn touched_by(self) -> Touched {
        use Feature as F;
        const ARRIVALS_AND_HELLOS: Touched = Touched::ARRIVALS.or(Touched::HELLOS);
        match self {
            // Connections can be counted here only when a name in the hello says so.
            F::Connections1s
            | F::Connections10s
            | F::Connections1m
            | F::Connections10m
            | F::Connections1h
            | F::BusySeconds30s
            | F::BusyMinutes1h
            | F::ConnectionIntervalP50
            | F::ConnectionIntervalCv
            | F::ConnectionRegularity
            | F::RegularityRank
            | F::Connections10mRank
            | F::PeakConnections1m
            | F::RoundTripP50
            | F::RoundTripCv
            | F::SynSystems1h
            | F::SynTtls1h
            | F::PrefixConnections1m
            | F::PrefixConnections10m
            | F::PrefixSources10m
            | F::PrefixSources1h
            | F::PrefixJudgedShare
            | F::ServiceConnections10s
            | F::ServiceConnections1m
            | F::ServiceConnections10m
            | F::ServiceConnections1h
            | F::ServiceSources10m
            | F::ServiceSources1h
            // Over QUIC, what a hello offered counts when its connection is proven.
            | F::NeedlessHandshakes10m
            | F::ResumedShare10m
            | F::QuicConnections10s => ARRIVALS_AND_HELLOS,
            F::OpenConnections => ARRIVALS_AND_HELLOS.or(Touched::CONTENTS).or(Touched::STALLS),
            F::StalledConnections | F::StalledShare => {
                ARRIVALS_AND_HELLOS.or(Touched::CONTENTS).or(Touched::STALLS)
            }
            F::ConnectionDurationP50
            | F::ExchangesPerConnectionP50
            | F::SingleExchangeShare
            | F::RequestBytesP50
            | F::RequestBytesRank
            | F::ResponseBytesRank
            | F::Exchanges10mRank
            | F::ResponseBytesP50
            | F::RequestBytesCv
            | F::ResponseBytesCv
            | F::EmptyShare
            | F::SilentShare
            | F::ResetShare
            | F::RetransmissionShare
            | F::LongestGapP50
            | F::QuietShare
            | F::Exchanges10s
            | F::Exchanges1m
            | F::Exchanges10m
            | F::Exchanges1h
            | F::LongestRun10m
            | F::ThinkTimeP50
            | F::QuickShare
            | F::SmallPacketShare
            | F::ShortGapShare
            | F::RequestBytes1m
            | F::RequestBytes10m
            | F::ResponseBytes1m
            | F::ResponseBytes10m
            | F::RequestRecords1m
            | F::RequestRecords10m
            | F::RequestPackets1m
            | F::ResponsePackets1m
            | F::WithoutHelloShare
            | F::UnreadHellos
            | F::CampaignSources1h
            | F::CampaignConnections1h
            | F::CampaignExclusiveShare
            | F::CampaignAge => Touched::CONTENTS,
            F::Handshakes10s
            | F::Handshakes1m
            | F::Handshakes10m
            | F::Handshakes10mRank
            | F::FullHandshakes10m
            | F::LateFullHandshakes10m
            | F::ResumptionShare
            | F::HelloDelayP50
            | F::BrowserLikeness
            | F::ConflictingHellos
            | F::Fingerprints
            | F::Fingerprints1h
            | F::CommonFingerprintShare
            | F::QuicDisagreements
            | F::FingerprintSenders
            | F::FingerprintConnections
            | F::FingerprintConnections1m
            | F::FingerprintShare
            | F::FingerprintAge
            | F::FingerprintSources1h
            | F::FingerprintNewSources10m => Touched::HELLOS,
            F::FingerprintSingleShapeShare => Touched::HELLOS.or(Touched::CONTENTS),
            F::DistinctPorts
            | F::HalfOpen1m
            | F::StraySegments1m
            | F::OddSegments1m
            | F::StrayDatagrams1m => Touched::UNPROVEN,
            F::ServiceSyns10s | F::ServiceProvenShare10s => Touched::PRESSURE,
            // Grows with every moment, or changes with another file.
            F::Age | F::Asn | F::Country => Touched::EVERYTHING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_changed_by_something() {
        for feature in Feature::ALL {
            assert!(feature.touched_by() != Touched::NOTHING, "{feature:?}");
        }
        assert!(Touched::ARRIVALS.or(Touched::HELLOS).meets(Touched::HELLOS));
        assert!(!Touched::ARRIVALS.meets(Touched::HELLOS));
    }
}
