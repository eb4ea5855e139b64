//! The Site's section `gates`.

use super::{DURATION, Form, Shape, optional, quantity, words};
use crate::policy::raw::AUTO;

const SHARE: Shape =
    quantity("a share", r"^\s*[0-9]+(\.[0-9]{1,4})?\s*%\s*$", &["0.1%", "5%", "100%"]);

const CONNECTIONS: Shape = Shape::Whole("a number of connections", 0, 1_000_000_000_000);

const SOURCES: Shape = Shape::Whole("a number of sources", 0, 1_000_000_000);

pub(in crate::policy) const GATES: Form = Form {
    id: "gates",
    what: "a set of gates",
    about: "What must be measured before a policy goes further, and what takes it back.",
    fields: &[
        optional("canary", SHARE, "The share of sources that a canary acts on; 5%."),
        optional(
            "auto",
            Shape::Either(
                &Shape::Switch("`true`, `false` or `back`"),
                &Shape::Word("`true`, `false` or `back`", words!(AUTO)),
            ),
            "What moves a policy without being asked: `true`: gates, forward and back; `back` \
             (without it): back only; `false`: nothing.",
        ),
        optional(
            "retry_after",
            DURATION,
            "After going back, how long it is not moved forward by itself; 24h.",
        ),
        optional("promote", Shape::Form(&PROMOTE), "What must hold before it goes further."),
        optional("rollback", Shape::Form(&ROLLBACK), "What takes it back."),
    ],
};

pub(in crate::policy) const PROMOTE: Form = Form {
    id: "promote",
    what: "`promote`",
    about: "What must hold before a policy goes one stage further.",
    fields: &[
        optional("after", DURATION, "Least time in the stage; 24h."),
        optional(
            "min_connections",
            CONNECTIONS,
            "Least number of connections of trusted sources; 10000.",
        ),
        optional("min_trusted_sources", SOURCES, "Least number of trusted sources seen; 20."),
        optional(
            "trusted_would_drop_max",
            SHARE,
            "Largest share of trusted sources that it refuses or would refuse; 0.1%.",
        ),
        optional("coverage_min", SHARE, "Least coverage of enforcement; 99.9%."),
        optional(
            "labelled_human_would_drop_max",
            SOURCES,
            "Most sources labelled human, or allow-listed, that it refuses or would refuse; 0.",
        ),
    ],
};

pub(in crate::policy) const ROLLBACK: Form = Form {
    id: "rollback",
    what: "`rollback`",
    about: "What takes a policy that acts back to watching.",
    fields: &[
        optional(
            "min_connections",
            CONNECTIONS,
            "Connections of trusted sources, for their share to count; 200.",
        ),
        optional(
            "min_trusted_sources",
            SOURCES,
            "Trusted sources seen, for their share to count; 5.",
        ),
        optional(
            "min_trusted_dropped",
            Shape::Whole("a number of networks", 1, 1_000_000_000),
            "Networks in which it must have refused trusted sources, so that one patient attacker is \
             not enough; 3.",
        ),
        optional(
            "trusted_dropped_max",
            SHARE,
            "Largest share of trusted sources that it refuses; 0.1%.",
        ),
        optional(
            "labelled_human_dropped_max",
            SOURCES,
            "Most sources labelled human, or allow-listed, that it refuses; 0.",
        ),
        optional("coverage_min", SHARE, "Least coverage of enforcement; 95%."),
    ],
};
