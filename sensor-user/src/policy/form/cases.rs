//! What tests of policies look like.

use super::{DURATION, Form, NOTE, PREFIX, Shape, optional, quantity, required, words};
use crate::policy::cases::{ACTIONS, KINDS, STYLES, SWITCH};

/// Most connections, exchanges or sources of a pattern that can be written.
const MOST: i64 = 1_000_000;
/// Most bytes of a message.
const MOST_BYTES: i64 = 4 << 20;

const SHARE: Shape = quantity("a share", r"^(0|1)(\.[0-9]+)?$", &["0", "0.5", "1"]);

/// A `*.test.yaml`.
pub(in crate::policy) static TESTS: Form = Form {
    id: "tests",
    what: "a file of tests",
    about: "Tests of policies",
    fields: &[
        optional("kind", Shape::Word("`Test`", words!(KINDS)), "What the document is."),
        optional("policy", NOTE, "The policy that is tested: a file or folder."),
        required(
            "cases",
            Shape::List("cases", &Shape::Form(&CASE)),
            "cases: [{name: …, traffic: […], expect: […]}]",
            "What is tried.",
        ),
    ],
};

/// A case.
pub(in crate::policy) static CASE: Form = Form {
    id: "case",
    what: "a case",
    about: "Traffic, and what is to follow",
    fields: &[
        required("name", NOTE, "name: stuffing is dropped", "What it shows."),
        optional("capture", Shape::OneOrMore(&NOTE), "Captures, judged as one."),
        optional("server", Shape::OneOrMore(&PREFIX), "The protected host of the captures."),
        optional("traffic", Shape::List("patterns", &Shape::Form(&PATTERN)), "What is made up."),
        required(
            "expect",
            Shape::List("expectations", &Shape::Form(&EXPECTATION)),
            "expect: [{source: 203.0.113.7, action: drop}]",
            "What is to follow.",
        ),
    ],
};

/// What is to follow.
pub(in crate::policy) static EXPECTATION: Form = Form {
    id: "expectation",
    what: "an expectation",
    about: "What is to follow for some sources",
    fields: &[
        required("source", NOTE, "source: 203.0.113.7", "Whom it is about; `*` is a service."),
        required(
            "action",
            Shape::OneOrMore(&Shape::Word("an action", words!(ACTIONS))),
            "action: drop, or action: [none, mark]",
            "The strongest action.",
        ),
        optional("owasp", Shape::OneOrMore(&NOTE), "Ids that decisions name."),
        optional("within", Shape::Form(&WITHIN), "How soon."),
    ],
};

/// How soon.
pub(in crate::policy) static WITHIN: Form = Form {
    id: "soon",
    what: "`within`",
    about: "How soon an action is taken",
    fields: &[
        optional("connections", Shape::Whole("connections", 1, MOST), "Connections by then."),
        optional("seconds", DURATION, "Time by then."),
    ],
};

/// What some sources do.
pub(in crate::policy) static PATTERN: Form = Form {
    id: "pattern",
    what: "a pattern",
    about: "What some sources do",
    fields: &[
        required("source", NOTE, "source: 203.0.113.7", "The first source."),
        optional("sources", Shape::Whole("how many", 1, MOST), "How many in a row."),
        required("service", Shape::Name("the name of a service"), "service: web", "Where."),
        optional("start", DURATION, "When it begins."),
        optional("over", DURATION, "The time in which connections begin."),
        optional("jitter", SHARE, "How much times differ."),
        optional("connections", Shape::Whole("how many", 0, MOST), "Connections of each source."),
        optional("exchanges", Shape::Whole("how many", 0, MOST), "Requests of each connection."),
        optional("pause", DURATION, "Between an answer and the next request."),
        optional("request_bytes", Shape::Whole("bytes", 1, MOST_BYTES), "Bytes of a request."),
        optional("response_bytes", Shape::Whole("bytes", 1, MOST_BYTES), "Bytes of an answer."),
        optional("vary", SHARE, "How much bytes differ."),
        optional("hold", DURATION, "How long connections stay open."),
        optional("rtt", DURATION, "From the server to the client and back."),
        optional("stalled", Shape::Word("on or off", words!(SWITCH)), "Requests never end."),
        optional("hello", Shape::Word("how clients say hello", words!(STYLES)), "Its style."),
        optional("fingerprints", Shape::Whole("how many", 1, MOST), "Distinct fingerprints."),
        optional("ports", Shape::Whole("how many", 0, MOST), "Ports that are tried."),
        optional("syns", Shape::Whole("how many", 0, MOST), "SYNs that lead to nothing."),
        optional("signal", Shape::Name("the name of a signal"), "What is said of connections."),
        optional("accounts", Shape::Whole("how many", 0, MOST), "Accounts that this names."),
    ],
};
