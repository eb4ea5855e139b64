//! Why a packet passed, was dropped or was limited, and what else the kernel counts.
//!
//! Append-only: numbers are never reused. The same list names the metric, the journal entry and
//! the line of the documentation.

/// Slots kept for reasons in `TALLY`.
pub const REASON_COUNT: usize = 128;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// A reason code.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        #[repr(u8)]
        pub enum Reason {
            #[default]
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Reason {
            /// Every reason, in order of its number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The reason of an ABI byte; unknown bytes are `Pass`.
            #[inline(always)]
            #[must_use]
            pub const fn from_u8(byte: u8) -> Self {
                match byte {
                    $($number => Self::$name,)+
                    _ => Self::Pass,
                }
            }

            /// The name in metrics, journal and documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// Passed: no stage had anything to say.
    Pass = 0, "pass";
    /// Passed because the kill switch is on.
    PassKilled = 1, "pass_killed";
    /// Passed: neither IPv4 nor IPv6 (ARP, LLDP and others).
    PassNotIp = 2, "pass_not_ip";
    /// Passed: the packet ends inside a header.
    PassTruncated = 3, "pass_truncated";
    /// Passed: a header contradicts itself.
    PassMalformed = 4, "pass_malformed";
    /// Passed: more VLAN tags or IPv6 extension headers than the parser follows.
    PassTooDeep = 5, "pass_too_deep";
    /// Passed: neither TCP, UDP nor ICMP.
    PassOtherProtocol = 6, "pass_other_protocol";
    /// Passed: a fragment after the first has no ports to measure by.
    PassFragment = 7, "pass_fragment";
    /// Passed always: neighbour discovery, MLD, DHCP or path-MTU discovery.
    PassEssential = 8, "pass_essential";
    /// Passed unmeasured: the source address cannot be one (multicast or unspecified).
    PassMartian = 9, "pass_martian";
    /// Passed: an allow verdict.
    PassAllowed = 10, "pass_allowed";
    /// Passed in spite of a drop verdict: part of a flow that this host opened.
    PassOwnFlow = 11, "pass_own_flow";
    /// Passed: the retransmission of a SYN that the guard had held back.
    PassGuardRetry = 12, "pass_guard_retry";
    /// Passed: a proven source's own lane through the SYN guard.
    PassGuardLane = 13, "pass_guard_lane";
    /// Dropped: an operator's verdict.
    DropOperator = 16, "drop_operator";
    /// Dropped: a rule's verdict.
    DropRule = 17, "drop_rule";
    /// Held back: a limit verdict's rate of new connections was exceeded.
    LimitVerdict = 18, "limit_verdict";
    /// Held back: the service's SYN guard; the retransmission passes.
    LimitGuard = 19, "limit_guard";
    /// Held back: a limit on unproven SYNs of this source; the retransmission passes.
    LimitUnproven = 20, "limit_unproven";
    /// Turned into a reset for the server, to end an established connection of a dropped source.
    ResetToServer = 21, "reset_to_server";
    /// Answered with a reset: a reject verdict.
    RejectReset = 22, "reject_reset";
    /// Dropped: a verdict on the TLS fingerprint, at the segment that completed the hello.
    DropFingerprint = 23, "drop_fingerprint";
    /// Would have been acted on, had the mode been enforce.
    Would = 24, "would";
    /// Not acted on: the daemon's pulse stopped and policy says fail open.
    HeartbeatLost = 25, "heartbeat_lost";
    /// A verdict named a class that does not exist; ignored.
    BadClass = 26, "bad_class";
    /// A segment outside its flow's window, or a forged reset: not counted as the peer's.
    OutOfWindow = 27, "out_of_window";
    /// A handshake was proven by its third packet.
    ProvenHandshake = 28, "proven_handshake";
    /// A flow was proven by the server's own answer, or by an acknowledgement of its data.
    ProvenAnswer = 29, "proven_answer";
    /// No room for a half-open connection.
    FullHandshakes = 32, "full_handshakes";
    /// No room for a flow.
    FullFlows = 33, "full_flows";
    /// No room for a source.
    FullSources = 34, "full_sources";
    /// No room for a limiter: the packet passed.
    FullBuckets = 35, "full_buckets";
    /// An Established event was lost: the ring buffer was full.
    LostEstablished = 40, "lost_established";
    /// A Closed event was lost: the ring buffer was full.
    LostClosed = 41, "lost_closed";
    /// A Milestone event was lost: the ring buffer was full.
    LostMilestone = 42, "lost_milestone";
    /// A Hit event was lost: the ring buffer was full.
    LostHit = 43, "lost_hit";
    /// A packet could not be rewritten into a reset; it was dropped.
    ResetFailed = 44, "reset_failed";
    /// A ClientHello's record was lost: the ring buffer was full.
    LostHello = 45, "lost_hello";
    /// A Progress event was lost: the ring buffer was full.
    LostProgress = 46, "lost_progress";
    /// First SYNs to services, as seen on ingress.
    SynSeen = 48, "syn_seen";
    /// SYN-ACKs from services, as seen on egress.
    SynAckSeen = 49, "syn_ack_seen";
    /// A segment of a flow that a verdict had ended: turned into a reset for the server, or dropped.
    DropRefused = 50, "drop_refused";
    /// ClientHellos that the kernel read.
    HelloRead = 56, "hello_read";
    /// ClientHellos that do not hold together: no fingerprint.
    HelloMalformed = 57, "hello_malformed";
    /// ClientHellos longer than the kernel collects: the daemon reassembles them.
    HelloTooLong = 58, "hello_too_long";
    /// Hellos for which no slot was free: the daemon reassembles them.
    HelloNoSlot = 59, "hello_no_slot";
    /// Hello bytes that came twice and differed: the first copy counts.
    HelloConflict = 60, "hello_conflict";
    /// Hello segments with a bad checksum, which the server discards: not counted as hello bytes.
    HelloBadChecksum = 61, "hello_bad_checksum";
    /// Hello segments with an old timestamp, which the server discards (RFC 7323): not counted as
    /// hello bytes.
    HelloOldTimestamp = 62, "hello_old_timestamp";
    /// PROXY headers of declared proxies that were read.
    ProxyRead = 63, "proxy_read";
    /// Flows of a declared proxy that do not begin with a readable PROXY header: their client is
    /// unknown.
    ProxyUnreadable = 64, "proxy_unreadable";
    /// QUIC Initials handed to the daemon.
    QuicInitial = 65, "quic_initial";
    /// QUIC Initials not handed to the daemon: more than it should decrypt.
    QuicOverBudget = 66, "quic_over_budget";
    /// A QUIC client was proven: it uses a connection id that this host announced to it.
    ProvenQuic = 67, "proven_quic";
    /// No room for a QUIC handshake.
    FullQuic = 68, "full_quic";
}
