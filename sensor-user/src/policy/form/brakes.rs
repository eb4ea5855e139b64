//! The section `brakes` of a Site.

use super::{DROPS, DURATION, Form, Shape, optional, quantity};

const SHARE: Shape = quantity("a share", r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$", &["1%", "0.5%"]);

pub(in crate::policy) const BRAKES: Form = Form {
    id: "brakes",
    what: "brakes",
    about: "Who is trusted, and how much harm to them brakes enforcement.",
    fields: &[
        optional("trusted", Shape::Form(&TRUSTED), "What makes a source trusted."),
        optional("breaker", Shape::Form(&BREAKER), "When nothing is enforced for a while."),
        optional(
            "new_drops",
            DROPS,
            "How many new drops (and rejects) a rule makes in a minute; what exceeds it is limited \
             instead; 600/m.",
        ),
        optional(
            "drop_share_alarm",
            SHARE,
            "An alarm is raised when more than this share of packets is dropped. It moves nothing.",
        ),
    ],
};

pub(in crate::policy) const TRUSTED: Form = Form {
    id: "trusted",
    what: "trust",
    about: "What makes a source trusted: completed sessions, well before what is judged.",
    fields: &[
        optional("before", DURATION, "How long before what is judged it had its sessions."),
        optional(
            "sessions",
            Shape::Whole("a number of sessions", 1, 1000),
            "On how many occasions it had sessions.",
        ),
        optional("gap", DURATION, "How far apart two occasions are at least."),
    ],
};

pub(in crate::policy) const BREAKER: Form = Form {
    id: "breaker",
    what: "a circuit breaker",
    about: "When policies refuse more of the trusted than this, nothing is enforced for a while.",
    fields: &[
        optional("trusted_dropped_max", SHARE, "Share of the trusted who may be refused."),
        optional(
            "min_sources",
            Shape::Whole("a number of sources", 1, 1_000_000),
            "At fewer trusted sources in the window it does not move.",
        ),
        optional(
            "min_networks",
            Shape::Whole("a number of networks", 1, 1_000_000),
            "At fewer networks (IPv4 /24, IPv6 /48) in the window it does not move.",
        ),
        optional(
            "min_dropped_networks",
            Shape::Whole("a number of networks", 1, 1_000_000),
            "The refused must be of at least so many networks.",
        ),
        optional("window", DURATION, "How far back it looks."),
        optional("hold", DURATION, "For how long nothing is enforced."),
    ],
};
