//! The product's own features, one a line: name, unit, largest value, evidence, window, sentence.

use std::borrow::Cow;

use super::{super::registry::FeatureId, Evidence, FeatureInfo, Unit};

const MANY: f64 = f64::INFINITY;

features! {
    // How a source comes.
    Connections1s, "source.connections_1s", Count, MANY, Authentic, "1 s",
        "new connections in the last second";
    Connections10s, "source.connections_10s", Count, MANY, Authentic, "10 s",
        "new connections in the last 10 seconds";
    Connections1m, "source.connections_1m", Count, MANY, Authentic, "1 min",
        "new connections in the last minute";
    Connections10m, "source.connections_10m", Count, MANY, Authentic, "10 min",
        "new connections in the last 10 minutes";
    Connections1h, "source.connections_1h", Count, MANY, Authentic, "1 h",
        "new connections in the last hour";
    BusySeconds30s, "source.busy_seconds_30s", Count, 30.0, Authentic, "30 s",
        "of the last 30 seconds had a new connection";
    BusyMinutes1h, "source.busy_minutes_1h", Count, 60.0, Authentic, "1 h",
        "of the last 60 minutes had a new connection";
    ConnectionIntervalP50, "source.connection_interval_p50", Seconds, MANY, Authentic,
        "last 64 intervals, from 4",
        "is the median time between connections";
    ConnectionIntervalCv, "source.connection_interval_cv", Ratio, MANY, Authentic,
        "last 64 intervals, from 8",
        "is the spread of the time between connections (standard deviation over mean)";
    ConnectionRegularity, "source.connection_regularity", Share, 1.0, Authentic,
        "last 64 intervals, from 8",
        "of the times between connections lie within a tenth of their median";
    OpenConnections, "source.open_connections", Count, MANY, Authentic, "now",
        "connections open";
    PeakConnections1m, "source.peak_connections_1m", Count, MANY, Authentic, "1 min",
        "connections open at once, at most, in the last minute";
    StalledConnections, "source.stalled_connections", Count, MANY, Authentic, "now",
        "open connections with a request that trickles in and never ends";
    StalledShare, "source.stalled_share", Share, 1.0, Authentic, "now, from 8 open connections",
        "of the open connections carry a request that never ends";
    Age, "source.age", Seconds, MANY, Authentic, "since its first connection",
        "since its first connection";

    // What its connections are like.
    ConnectionDurationP50, "source.connection_duration_p50", Seconds, MANY, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "is how long the median connection lasts";
    ExchangesPerConnectionP50, "source.exchanges_per_connection_p50", Count, MANY, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "requests in the median connection";
    SingleExchangeShare, "source.single_exchange_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the connections carried one request and its answer";
    RequestBytesP50, "source.request_bytes_p50", Count, MANY, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "bytes sent in the median connection";
    ResponseBytesP50, "source.response_bytes_p50", Count, MANY, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "bytes received in the median connection";
    RequestBytesCv, "source.request_bytes_cv", Ratio, MANY, Authentic,
        "last 64 closed connections within 1 h, from 8",
        "is the spread of bytes sent per connection (middle 80 %, standard deviation over mean)";
    ResponseBytesCv, "source.response_bytes_cv", Ratio, MANY, Authentic,
        "last 64 closed connections within 1 h, from 8",
        "is the spread of bytes received per connection (middle 80 %, standard deviation over mean)";
    EmptyShare, "source.empty_connections_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the connections ended before any request was answered";
    SilentShare, "source.silent_connections_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the connections ended without a byte from the client";
    ResetShare, "source.reset_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the connections were reset by the client";
    RetransmissionShare, "source.retransmission_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the connections needed a packet of the client twice";
    LongestGapP50, "source.longest_gap_p50", Seconds, MANY, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "is the longest silence of the median connection";
    QuietShare, "source.quiet_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4",
        "of the time of its connections nobody sent";
    RoundTripP50, "source.round_trip_p50", Seconds, MANY, Authentic, "last 32 connections, from 4",
        "is the median round-trip time of its handshakes";
    RoundTripCv, "source.round_trip_cv", Ratio, MANY, Authentic, "last 32 connections, from 4",
        "is the spread of its round-trip times (middle 80 %, standard deviation over mean)";

    // What goes on inside them.
    Exchanges10s, "source.exchanges_10s", Count, MANY, Authentic, "10 s",
        "requests inside connections in the last 10 seconds";
    Exchanges1m, "source.exchanges_1m", Count, MANY, Authentic, "1 min",
        "requests inside connections in the last minute";
    Exchanges10m, "source.exchanges_10m", Count, MANY, Authentic, "10 min",
        "requests inside connections in the last 10 minutes";
    Exchanges1h, "source.exchanges_1h", Count, MANY, Authentic, "1 h",
        "requests inside connections in the last hour";
    LongestRun10m, "source.longest_run_10m", Count, MANY, Authentic, "10 min, over TCP",
        "requests in a row on one connection without a second's pause";
    ThinkTimeP50, "source.think_time_p50", Seconds, MANY, Authentic,
        "the latest requests inside connections, from 4, to a power of two",
        "is the median time from one request to the next inside a connection";
    QuickShare, "source.quick_exchange_share", Share, 1.0, Authentic,
        "the latest requests inside connections, from 4",
        "of the requests inside connections followed the one before within 134 ms";
    SmallPacketShare, "source.small_packet_share", Share, 1.0, Authentic,
        "the latest packets with payload, from 8",
        "of its packets carried less than 64 bytes";
    ShortGapShare, "source.short_gap_share", Share, 1.0, Authentic,
        "the latest packets with payload, from 8",
        "of its packets followed the one before within a millisecond";
    RequestBytes1m, "source.request_bytes_1m", Count, MANY, Authentic, "1 min",
        "bytes sent in the last minute";
    RequestBytes10m, "source.request_bytes_10m", Count, MANY, Authentic, "10 min",
        "bytes sent in the last 10 minutes";
    ResponseBytes1m, "source.response_bytes_1m", Count, MANY, Authentic, "1 min",
        "bytes received in the last minute";
    ResponseBytes10m, "source.response_bytes_10m", Count, MANY, Authentic, "10 min",
        "bytes received in the last 10 minutes";
    RequestPackets1m, "source.request_packets_1m", Count, MANY, Authentic, "1 min",
        "packets sent in the last minute";
    ResponsePackets1m, "source.response_packets_1m", Count, MANY, Authentic, "1 min",
        "packets received in the last minute";

    RequestRecords1m, "source.request_records_1m", Count, MANY, Authentic, "1 min",
        "TLS records of 64 bytes and more sent in the last minute";
    RequestRecords10m, "source.request_records_10m", Count, MANY, Authentic, "10 min",
        "TLS records of 64 bytes and more sent in the last 10 minutes";

    // How it speaks TLS.
    Handshakes10s, "source.handshakes_10s", Count, MANY, Authentic, "10 s",
        "TLS handshakes begun in the last 10 seconds";
    Handshakes1m, "source.handshakes_1m", Count, MANY, Authentic, "1 min",
        "TLS handshakes begun in the last minute";
    Handshakes10m, "source.handshakes_10m", Count, MANY, Authentic, "10 min",
        "TLS handshakes begun in the last 10 minutes";
    FullHandshakes10m, "source.full_handshakes_10m", Count, MANY, Authentic, "10 min",
        "TLS handshakes that offered no resumption although it had been here before";
    LateFullHandshakes10m, "source.late_full_handshakes_10m", Count, MANY, Authentic, "10 min",
        "TLS handshakes that offered no resumption although it had been here a second before";
    NeedlessHandshakes10m, "source.needless_handshakes_10m", Count, MANY, Authentic, "10 min",
        "TLS handshakes that offered no resumption although a connection of its had ended before";
    ResumedShare10m, "source.resumed_share_10m", Share, 1.0, Authentic,
        "10 min, from 4 handshakes of a source that had been here before",
        "of its TLS handshakes offered to resume a session, where it had been here before";
    QuicConnections10s, "source.quic_connections_10s", Count, MANY, Authentic, "10 s",
        "new QUIC connections in the last 10 seconds";
    ResumptionShare, "source.resumption_share", Share, 1.0, Authentic,
        "last 64 chances, from 8, and only where another sender ever resumed",
        "of the connections that could have resumed a TLS session offered to";
    HelloDelayP50, "source.hello_delay_p50", Seconds, MANY, Authentic,
        "last 64 TLS connections, from 4",
        "is how long the median connection waits with its ClientHello";
    BrowserLikeness, "source.browser_likeness", Share, 1.0, Authentic, "its latest ClientHello",
        "of the marks that browsers' ClientHellos have are in its latest one";
    WithoutHelloShare, "source.connections_without_hello_share", Share, 1.0, Authentic,
        "last 64 closed connections within 1 h, from 4, and only where a ClientHello ever came",
        "of the connections carried no ClientHello";
    UnreadHellos, "source.unread_hellos", Count, 64.0, Authentic,
        "last 64 closed connections within 1 h",
        "connections ended in the middle of their ClientHello";
    ConflictingHellos, "source.conflicting_hellos", Count, MANY, Authentic,
        "since its first connection",
        "ClientHellos of which a part came twice and differed";
    Fingerprints, "source.fingerprints", Count, 32.0, Authentic, "the latest 32",
        "distinct TLS fingerprints (resumption and padding apart)";
    Fingerprints1h, "source.fingerprints_1h", Count, 32.0, Authentic, "1 h, the latest 32",
        "distinct TLS fingerprints in the last hour (resumption and padding apart)";
    CommonFingerprintShare, "source.common_fingerprint_share", Share, 1.0, Authentic,
        "of the latest 32",
        "of its TLS fingerprints are common: eight or more senders use them";

    // How unusual it is here.
    Connections10mRank, "source.connections_10m_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors have fewer new connections in 10 minutes";
    Exchanges10mRank, "source.exchanges_10m_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors make fewer requests in 10 minutes";
    Handshakes10mRank, "source.handshakes_10m_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors begin fewer TLS handshakes in 10 minutes";
    RegularityRank, "source.connection_regularity_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors come less regularly";
    RequestBytesRank, "source.request_bytes_p50_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors send fewer bytes in the median connection";
    ResponseBytesRank, "source.response_bytes_p50_rank", Share, 1.0, Authentic,
        "against the service's own baseline at this hour of the day, once that is warm",
        "of the service's visitors receive fewer bytes in the median connection";

    // What anybody can send in its name.
    DistinctPorts, "source.distinct_ports", Count, MANY, Forgeable, "1 min",
        "distinct ports tried";
    HalfOpen1m, "source.half_open_1m", Count, MANY, Forgeable, "1 min",
        "handshakes begun and not completed";
    StraySegments1m, "source.stray_segments_1m", Count, MANY, Forgeable, "1 min",
        "TCP segments that belong to no connection";
    OddSegments1m, "source.odd_segments_1m", Count, MANY, Forgeable, "1 min",
        "TCP segments with flags that make no sense together";
    StrayDatagrams1m, "source.stray_datagrams_1m", Count, MANY, Forgeable, "1 min",
        "datagrams that belong to no connection";
    SynSystems1h, "source.syn_systems_1h", Count, 8.0, Forgeable, "1 h, the latest 8",
        "operating systems that its SYNs look like";
    SynTtls1h, "source.syn_ttls_1h", Count, 8.0, Forgeable, "1 h, the latest 8",
        "different TTLs of its SYNs";
    QuicDisagreements, "source.quic_disagreements", Count, 8.0, Forgeable,
        "since its first connection",
        "ways to order cipher suites over QUIC that it never has over TCP: another TLS library";

    // What others know of it.
    Asn, "source.asn", Asn, 4_294_967_295.0, Authentic, "now, from a database that the Site names",
        "is the autonomous system that announces it";
    Country, "source.country", Country, 65_535.0, Authentic,
        "now, from a database that the Site names",
        "is the country that it is registered in";

    // Its latest TLS fingerprint, whoever uses it.
    FingerprintSenders, "fingerprint.senders", Count, 128.0, Authentic,
        "since it is known, up to 128",
        "senders (IPv4 addresses, IPv6 /48s) use its latest TLS fingerprint";
    FingerprintConnections, "fingerprint.connections", Count, MANY, Forgeable,
        "since it is known",
        "connections of all senders with its latest TLS fingerprint";
    FingerprintConnections1m, "fingerprint.connections_1m", Count, MANY, Forgeable, "1 min",
        "connections of all senders with its latest TLS fingerprint in the last minute";
    FingerprintShare, "fingerprint.share", Share, 1.0, Forgeable,
        "this hour and the one before, from 64 connections",
        "of the services' TLS connections have its latest fingerprint";
    FingerprintAge, "fingerprint.age", Seconds, MANY, Authentic,
        "since it is known",
        "since its latest TLS fingerprint was first seen from anybody";
    FingerprintSources1h, "fingerprint.sources_1h", Count, 128.0, Authentic, "1 h, up to 128",
        "senders used its latest TLS fingerprint in the last hour";
    FingerprintNewSources10m, "fingerprint.new_sources_10m", Count, 128.0, Forgeable,
        "10 min, unknown where more than 128 senders use it",
        "senders used its latest TLS fingerprint for the first time in the last 10 minutes";
    FingerprintSingleShapeShare, "fingerprint.single_shape_share", Share, 1.0, Forgeable,
        "the latest connections, from 16",
        "of the connections with its latest TLS fingerprint carry the same number of requests and bytes";

    // Those who do the same as it.
    CampaignSources1h, "campaign.sources_1h", Count, 256.0, Forgeable, "1 h, up to 256",
        "sources with the same TLS library or system make the same connections";
    CampaignConnections1h, "campaign.connections_1h", Count, MANY, Forgeable, "1 h",
        "such connections in the last hour";
    CampaignExclusiveShare, "campaign.exclusive_share", Share, 1.0, Forgeable,
        "1 h, from 3 sources",
        "of the sources that make the same connections do nothing else, or one other thing";
    CampaignAge, "campaign.age", Seconds, MANY, Forgeable, "since it is known",
        "since the first source that makes the same connections was first seen";

    // Its network: an IPv4 /24, an IPv6 /48.
    PrefixConnections1m, "prefix.connections_1m", Count, MANY, Forgeable, "1 min",
        "new connections of its network in the last minute";
    PrefixConnections10m, "prefix.connections_10m", Count, MANY, Forgeable, "10 min",
        "new connections of its network in the last 10 minutes";
    PrefixSources10m, "prefix.sources_10m", Count, 256.0, Forgeable, "10 min, up to 256",
        "sources of its network in the last 10 minutes";
    PrefixSources1h, "prefix.sources_1h", Count, 256.0, Forgeable, "1 h, up to 256",
        "sources of its network in the last hour";
    PrefixJudgedShare, "prefix.judged_share", Share, 1.0, Forgeable, "1 h, from 3 sources",
        "of the sources of its network were limited, rejected or dropped in the last hour";

    // The service that it came to.
    ServiceConnections10s, "service.connections_10s", Count, MANY, Forgeable, "10 s",
        "new connections to the service in the last 10 seconds";
    ServiceConnections1m, "service.connections_1m", Count, MANY, Forgeable, "1 min",
        "new connections to the service in the last minute";
    ServiceConnections10m, "service.connections_10m", Count, MANY, Forgeable, "10 min",
        "new connections to the service in the last 10 minutes";
    ServiceConnections1h, "service.connections_1h", Count, MANY, Forgeable, "1 h",
        "new connections to the service in the last hour";
    ServiceSources10m, "service.sources_10m", Count, 16_384.0, Forgeable, "10 min, up to 16384",
        "sources came to the service in the last 10 minutes";
    ServiceSources1h, "service.sources_1h", Count, 16_384.0, Forgeable, "1 h, up to 16384",
        "sources came to the service in the last hour";
    ServiceSyns10s, "service.syns_10s", Count, MANY, Forgeable, "10 s",
        "first SYNs to the service in the last 10 seconds";
    ServiceProvenShare10s, "service.proven_share_10s", Share, 1.0, Forgeable,
        "10 s, from 32 first SYNs",
        "of the first SYNs to the service were followed by a proof";
}
