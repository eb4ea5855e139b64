//! The Site's section `modes`: named sets of overrides, switched by one command.

use super::{DURATION, Form, RATE, Shape, optional};

const THRESHOLDS: Shape = Shape::Whole("points", -50, 50);
const LADDER: Shape = Shape::Name("the name of a ladder");

pub(in crate::policy) const MODE: Form = Form {
    id: "site_mode",
    what: "a mode",
    about: "What is different while it is on; `weir mode NAME` switches to it.",
    fields: &[
        optional(
            "for",
            DURATION,
            "For how long, unless the command says; 2h. Then all is as before.",
        ),
        optional(
            "mode",
            Shape::Word("`observe`", || vec!["observe"]),
            "`observe`: nothing is enforced, operators' verdicts and SYN guards included.",
        ),
        optional(
            "thresholds",
            THRESHOLDS,
            "Points added to every score from which a ladder acts: negative ones act earlier.",
        ),
        optional("ladder", LADDER, "The ladder of every policy."),
        optional("syn_guard", Shape::Form(&RATE), "The SYN guard of every service."),
        optional(
            "services",
            Shape::Named("services", &Shape::Form(&MODE_SERVICE)),
            "What is different for single services.",
        ),
        optional(
            "policies",
            Shape::Named("policies", &Shape::Form(&MODE_POLICY)),
            "What is different for single policies.",
        ),
    ],
};

pub(in crate::policy) const MODE_SERVICE: Form = Form {
    id: "mode_service",
    what: "a service in a mode",
    about: "What is different for a service while a mode is on.",
    fields: &[optional("syn_guard", Shape::Form(&RATE), "Its SYN guard.")],
};

pub(in crate::policy) const MODE_POLICY: Form = Form {
    id: "mode_policy",
    what: "a policy in a mode",
    about: "What is different for a policy while a mode is on.",
    fields: &[
        optional("thresholds", THRESHOLDS, "Instead of the mode's own."),
        optional("ladder", LADDER, "Instead of the mode's own."),
    ],
};
