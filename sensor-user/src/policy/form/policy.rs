//! A document `kind: Policy`.

use super::{
    DATE, DROPS, DURATION, Field, Form, NOTE, Need, STAGED_MODE, Shape, optional, required, words,
};
use crate::policy::raw::{ACTIONS, RULE_AUDIENCES, STAGES};

const ACTION: Shape = Shape::Word("an action", words!(ACTIONS));

pub(in crate::policy) const POLICY: Form = Form {
    id: "policy",
    what: "a policy",
    about: "Judges who uses some services.",
    fields: &[
        required("kind", Shape::Text("`Policy`"), "kind: Policy", "What the document is."),
        required(
            "metadata",
            Shape::Form(&METADATA),
            "metadata: {name: login, owner: edge-team}",
            "What it is called, and who answers for it.",
        ),
        Field {
            name: "applies",
            shape: Shape::List("service names", &Shape::Name("the name of a service")),
            need: Need::Somewhere("applies: [login] names services of the site"),
            about: "Services whose traffic it judges, and that its verdicts are for.",
        },
        STAGED_MODE,
        optional(
            "stage_max",
            Shape::Word("a stage", words!(STAGES)),
            "Ceiling of its stage: `monitor` (nothing is enforced), `canary` or `enforce`.",
        ),
        optional(
            "gates",
            Shape::Name("the name of a set of gates"),
            "What moves it from stage to stage.",
        ),
        optional("ladder", Shape::Name("the name of a ladder"), "What follows from a score."),
        optional(
            "heartbeat",
            DURATION,
            "Its verdicts stop acting this long after the daemon died; without it, they go on until \
             each ends.",
        ),
        optional(
            "drops",
            DROPS,
            "How many new drops (and rejects) a rule of it makes in a minute; what exceeds it is \
             limited instead.",
        ),
        optional(
            "exempt",
            Shape::List("exemptions", &Shape::Form(&EXEMPTION)),
            "Groups that are spared some actions.",
        ),
        optional(
            "rules",
            Shape::List("rules", &Shape::Form(&RULE)),
            "What counts against a source, or for it.",
        ),
    ],
};

pub(in crate::policy) const METADATA: Form = Form {
    id: "metadata",
    what: "metadata",
    about: "What a policy is called, and who answers for it.",
    fields: &[
        required("name", Shape::Name("a name"), "name: login", "Its name, unique in the site."),
        optional("owner", NOTE, "Who answers for it."),
        optional("description", NOTE, "What it is for."),
    ],
};

pub(in crate::policy) const EXEMPTION: Form = Form {
    id: "exemption",
    what: "an exemption",
    about: "A group that some actions are never taken against.",
    fields: &[
        required("group", Shape::Name("the name of a group"), "group: partners", "Who."),
        required("from", Shape::List("actions", &ACTION), "from: [drop, limit]", "From what."),
        optional("why", NOTE, "Why."),
        optional("owner", NOTE, "Who answers for it."),
        optional("expires", DATE, "The last day that it counts, UTC."),
    ],
};

pub(in crate::policy) const RULE: Form = Form {
    id: "rule",
    what: "a rule",
    about: "Points for a condition.",
    fields: &[
        required(
            "name",
            Shape::Name("a name"),
            "name: stuffing",
            "Its name, unique in the policy.",
        ),
        optional(
            "owasp",
            Shape::List("ids of threats", &Shape::Text("an id like `OAT-008` or `API2:2023`")),
            "OWASP's threats that it speaks of: `OAT-001` to `OAT-021`, `API1:2023` to \
             `API10:2023`.",
        ),
        required(
            "points",
            Shape::Whole("points", -100, 100),
            "points: 60",
            "What it adds to the score; negative points are trust.",
        ),
        required(
            "when",
            Shape::Text("a condition"),
            "when: source.connections_10s >= 60",
            "The condition, in a subset of CEL.",
        ),
        optional(
            "after",
            Shape::Form(&AFTER),
            "It counts only from so many connections of the source on.",
        ),
        optional(
            "audience",
            Shape::Word("an audience", words!(RULE_AUDIENCES)),
            "It counts only for services of exactly this audience.",
        ),
        optional(
            "decay",
            DURATION,
            "Its points go on when it is no longer met, and fall evenly to nothing over this time.",
        ),
        optional(
            "drops",
            DROPS,
            "How many new drops it makes in a minute, instead of the policy's.",
        ),
    ],
};

pub(in crate::policy) const AFTER: Form = Form {
    id: "after",
    what: "`after`",
    about: "A least number of new connections.",
    fields: &[
        required(
            "connections",
            Shape::Whole("a number of connections", 1, 1_000_000),
            "after: {connections: 5, within: 1h}",
            "How many.",
        ),
        required(
            "within",
            DURATION,
            "after: {connections: 5, within: 1h}",
            "Over which time; one that connections are counted over.",
        ),
    ],
};
