//! A document `kind: Site`.

use super::{
    BRAKES, DATE, DURATION, Field, Form, GATES, MODE as SITE_MODE, NEVER_BLOCK, NOTE, Need, PREFIX,
    PRIVACY, Quantity, RATE_TEXT, STAGED_MODE, Shape, optional, quantity, required, words,
};
use crate::policy::{
    raw::{
        ACTIONS, AUDIENCES, CHANGES, CLIENTS, FEED_FORMATS, LOG_CLIENTS, LOG_FORMATS, MODES,
        SIGNAL_DISTINCT, SIGNAL_SUBJECTS, STAGES, UNKNOWN_SNI,
    },
    signals::LOG_FIELDS,
};

const MODE: Shape = Shape::Word("a mode", words!(MODES));
const FILE: Shape = Shape::Text("the name of a file");

pub(in crate::policy) const SITE: Form = Form {
    id: "site",
    what: "a site",
    about: "What there is: services, who stands before them, who is spared, what follows.",
    fields: &[
        required("kind", Shape::Text("`Site`"), "kind: Site", "What the document is."),
        optional(
            "include",
            Shape::List("files", &FILE),
            "Files that this one goes over, from its folder.",
        ),
        optional(
            "services",
            Shape::Named("services", &Shape::Form(&SERVICE)),
            "What is protected, by name.",
        ),
        optional(
            "proxies",
            Shape::Named("proxies", &Shape::Form(&PROXY)),
            "Load balancers and CDNs that clients come through, by name.",
        ),
        optional(
            "signals",
            Shape::Named("signals", &Shape::Form(&SIGNAL)),
            "What applications and logs say of clients, by name.",
        ),
        optional("logs", Shape::Named("logs", &Shape::Form(&LOG)), "Access logs, by name."),
        optional(
            "groups",
            Shape::Named("groups", &Shape::Form(&GROUP)),
            "Sets of addresses, by name.",
        ),
        optional(
            "ladders",
            Shape::Named("ladders", &Shape::List("steps", &Shape::Form(&LADDER_STEP))),
            "What follows from a score, by name: steps that rise in score and strength.",
        ),
        optional(
            "gates",
            Shape::Named("gates", &Shape::Form(&GATES)),
            "What moves policies from stage to stage, by name; `standard` is for those that name none.",
        ),
        optional(
            "changes",
            Shape::Word("`shadow` or `at-once`", words!(CHANGES)),
            "What becomes of a changed policy that acts: `shadow` (without it): it watches beside the \
             one before until its gates hold; `at-once`: it acts.",
        ),
        optional("defaults", Shape::Form(&DEFAULTS), "What holds for policies that do not say."),
        optional("sensor", Shape::Form(&SENSOR), "The sensor's own settings."),
        optional("lookup", Shape::Form(&LOOKUP), "How proxies ask about clients."),
        optional("brakes", Shape::Form(&BRAKES), "Who is trusted, and what brakes enforcement."),
        optional(
            "feeds",
            Shape::Named("feeds", &Shape::Form(&FEED)),
            "Lists of addresses with a reputation, by name.",
        ),
        optional("geo", Shape::Form(&GEO), "What tells networks and countries of addresses."),
        optional("privacy", Shape::Form(&PRIVACY), "What the journal keeps of whom."),
        optional("never_block", Shape::Form(&NEVER_BLOCK), "Who is never blocked."),
        optional(
            "modes",
            Shape::Named("modes", &Shape::Form(&SITE_MODE)),
            "Sets of overrides for bad days, by name.",
        ),
    ],
};

const PORTS: Shape = Shape::List("ports", &Shape::Whole("a port", 1, 65535));

pub(in crate::policy) const SERVICE: Form = Form {
    id: "service",
    what: "a service",
    about: "A protected service.",
    fields: &[
        optional("tcp", PORTS, "Its TCP ports."),
        optional("udp", PORTS, "Its UDP ports."),
        optional(
            "syn_guard",
            Shape::Form(&RATE),
            "Over this rate a first SYN is held back, and its retransmission passes.",
        ),
        optional(
            "sni",
            Shape::List("names", &Shape::Text("a name")),
            "Names that clients ask for it by: `login.example.com`, `*.example.com`.",
        ),
        optional(
            "unknown_sni",
            Shape::Word("`include` or `exclude`", words!(UNKNOWN_SNI)),
            "Whether hellos that ask for no name, or hide it, are for it.",
        ),
        optional(
            "behind",
            Shape::List("proxies", &Shape::Name("the name of a proxy")),
            "Proxies that its clients come through.",
        ),
        optional("audience", Shape::Word("an audience", words!(AUDIENCES)), "Who uses it."),
    ],
};

pub(in crate::policy) const RATE: Form = Form {
    id: "rate",
    what: "a rate with a burst",
    about: "How many at a sustained rate, and how many at once.",
    fields: &[
        required("rate", RATE_TEXT, "{rate: 200/s, burst: 400}", "How many, sustained."),
        required(
            "burst",
            Shape::Whole("connections at once", 1, 10_000_000),
            "{rate: 200/s, burst: 400}",
            "How many at once.",
        ),
    ],
};

pub(in crate::policy) const PROXY: Form = Form {
    id: "proxy",
    what: "a proxy",
    about: "A load balancer or CDN: it is not a client.",
    fields: &[
        required(
            "from",
            Shape::List("addresses and files", &Shape::Either(&PREFIX, &Shape::Form(&LIST_FILE))),
            "from: [10.0.0.0/24]",
            "Where its connections come from.",
        ),
        required(
            "client",
            Shape::Word("who names the client", words!(CLIENTS)),
            "client: proxy-protocol, or signals",
            "Who says which client it stands for.",
        ),
    ],
};

pub(in crate::policy) const LIST_FILE: Form = Form {
    id: "list_file",
    what: "a list in a file",
    about: "A file with one prefix a line.",
    fields: &[required("file", FILE, "{file: lb.netset}", "Beside the policy file.")],
};

pub(in crate::policy) const GROUP: Form = Form {
    id: "group",
    what: "a group",
    about: "A set of addresses that policies can spare.",
    fields: &[
        optional("addresses", Shape::List("addresses", &PREFIX), "Its members."),
        optional("file", FILE, "A file with more members, one prefix a line."),
        optional("why", NOTE, "Why it exists."),
        optional("expires", DATE, "The last day that it counts, UTC."),
    ],
};

pub(in crate::policy) const LADDER_STEP: Form = Form {
    id: "step",
    what: "a ladder's step",
    about: "What is done from a score upwards.",
    fields: &[
        required("at", Shape::Whole("a score", 1, 100), "at: 80", "Score from which it acts."),
        required(
            "action",
            Shape::Word("an action", words!(ACTIONS)),
            "action: drop",
            "In order of strength: `mark` (told to applications), `limit`, `reject` (TCP reset), \
             `drop`.",
        ),
        required("for", DURATION, "for: 10m (every verdict ends)", "How long its verdict holds."),
        optional("connections", RATE_TEXT, "For `limit`: new connections of a source that pass."),
        optional(
            "syns",
            RATE_TEXT,
            "For `limit`: SYNs that pass where evidence is forgeable; without it, as `connections`.",
        ),
        Field {
            name: "exchanges",
            shape: RATE_TEXT,
            need: Need::Refused(
                "exchanges cannot be limited on the way: they are encrypted",
                "limit `connections`, or `action: mark` and let the application hold back \
                 requests of who is marked",
            ),
            about: "",
        },
        optional(
            "burst",
            Shape::Whole("connections at once", 1, 1_000_000),
            "For `limit`: how many at once.",
        ),
        optional(
            "repeat",
            Shape::Word("`double`", || vec!["double"]),
            "`double`: the term doubles with each repetition.",
        ),
        optional("max", DURATION, "With `repeat`: the longest term."),
        optional(
            "forget",
            DURATION,
            "With `repeat`: after so long without a verdict an offender starts over; 24h.",
        ),
    ],
};

pub(in crate::policy) const DEFAULTS: Form = Form {
    id: "defaults",
    what: "defaults",
    about: "What holds for policies that do not say.",
    fields: &[
        optional("ladder", Shape::Name("the name of a ladder"), "Their ladder."),
        optional("gates", Shape::Name("the name of a set of gates"), "Their gates."),
        STAGED_MODE,
        optional(
            "stage_max",
            Shape::Word("a stage", words!(STAGES)),
            "Ceiling of every policy's stage: `monitor` (nothing is enforced), `canary` or `enforce`.",
        ),
    ],
};

pub(in crate::policy) const SENSOR: Form = Form {
    id: "sensor",
    what: "sensor",
    about: "The sensor's own settings.",
    fields: &[
        optional("mode", MODE, "Ceiling of everything, operators' verdicts and guards included."),
        optional("stall", DURATION, "How long a request may stay unfinished before it is stalled."),
        optional("heartbeat", DURATION, "Enforcement stops this long after the daemon died."),
        optional(
            "coverage_min",
            Shape::Whole("a percentage", 0, 100),
            "With less than this percentage of what is wanted enforced, the daemon is not ready.",
        ),
        optional(
            "lane",
            Shape::Form(&RATE),
            "SYNs of one proven source that a SYN guard lets through.",
        ),
        optional(
            "profiles",
            Shape::Whole("a number of sources", 16, 4_194_304),
            "How many sources are remembered.",
        ),
        optional(
            "connections_per_source",
            Shape::Whole("a number of connections", 64, 65_536),
            "How many open connections of a source are remembered.",
        ),
        optional(
            "capacities",
            Shape::Named("capacities", &Shape::Whole("a number of entries", 1, 67_108_864)),
            "Entries of kernel tables, by name.",
        ),
    ],
};

pub(in crate::policy) const FEED: Form = Form {
    id: "feed",
    what: "a feed",
    about: "A list of addresses with a reputation.",
    fields: &[
        optional("file", FILE, "A file, read again when it changes."),
        optional(
            "url",
            quantity("an address", "^https?://", &["https://www.spamhaus.org/drop/drop_v4.json"]),
            "Where it is fetched from.",
        ),
        optional("format", Shape::Word("a format", words!(FEED_FORMATS)), "How it is written."),
        optional("refresh", DURATION, "How often it is fetched."),
        optional(
            "max_change",
            quantity("a share", r"^\s*[0-9.]+\s*%\s*$", &["20%"]),
            "A list of which more than this share changes at once is refused.",
        ),
    ],
};

pub(in crate::policy) const GEO: Form = Form {
    id: "geo",
    what: "geo",
    about: "MMDB files that tell networks and countries of addresses.",
    fields: &[
        optional("asn", Shape::Text("the name of an MMDB file"), "For `source.asn`."),
        optional("country", Shape::Text("the name of an MMDB file"), "For `source.country`."),
    ],
};

pub(in crate::policy) const LOOKUP: Form = Form {
    id: "lookup",
    what: "lookup",
    about: "How proxies ask about clients.",
    fields: &[
        optional(
            "listen",
            quantity(
                "a loopback address and port",
                r"^(127\.[0-9.]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$",
                &["127.0.0.1:8765", "[::1]:8765"],
            ),
            "Where to answer beside the Unix sockets.",
        ),
        optional(
            "header",
            quantity("the name of a header", "^[!#-'*+.^_`|~0-9A-Za-z-]{1,64}$", &["X-Real-IP"]),
            "The request header that names the client where the query does not.",
        ),
    ],
};

pub(in crate::policy) const SIGNAL: Form = Form {
    id: "signal",
    what: "a signal",
    about: "Something that applications or logs say of clients, and what is counted of it.",
    fields: &[
        optional(
            "per",
            Shape::OneOrMore(&Shape::Word(
                "`source`, `entity` or `service`",
                words!(SIGNAL_SUBJECTS),
            )),
            "About whom it is counted.",
        ),
        optional(
            "windows",
            Shape::OneOrMore(&DURATION),
            "Over which times it is counted: 10s, 1m, 10m, 1h.",
        ),
        optional(
            "distinct",
            Shape::OneOrMore(&Shape::Word(
                "`account`, `endpoint` or `source`",
                words!(SIGNAL_DISTINCT),
            )),
            "Of what distinct ones are counted too.",
        ),
        optional("match", Shape::Form(&LOG_LINE), "Lines of logs that say it."),
    ],
};

pub(in crate::policy) const LOG_LINE: Form = Form {
    id: "log_line",
    what: "`match`",
    about: "Lines of logs that say a signal; what is not given fits everything.",
    fields: &[
        optional("log", Shape::Name("the name of a log"), "Only lines of this log."),
        optional("method", Shape::OneOrMore(&Shape::Text("a method, like `POST`")), "Methods."),
        optional(
            "path",
            Shape::OneOrMore(&quantity("a path", "^[/*]", &["/login", "/api/*"])),
            "Paths.",
        ),
        optional(
            "status",
            Shape::OneOrMore(&Shape::Quantity(Quantity {
                what: "a status code",
                pattern: "^[1-5]([0-9][0-9]|xx)$",
                examples: &["401", "4xx"],
                or_number: true,
            })),
            "Status codes.",
        ),
        optional(
            "query",
            Shape::OneOrMore(&Shape::Text("the name of a query parameter")),
            "Query parameters that belong to the endpoint.",
        ),
    ],
};

pub(in crate::policy) const LOG: Form = Form {
    id: "log",
    what: "a log",
    about: "An access log that is followed.",
    fields: &[
        required("file", FILE, "file: /var/log/nginx/access.log", "The file."),
        required(
            "format",
            Shape::Word("a format", words!(LOG_FORMATS)),
            "format: combined, json or haproxy",
            "How lines are written.",
        ),
        optional("service", Shape::Name("the name of a service"), "The service that writes it."),
        optional(
            "fields",
            Shape::Keyed(
                "`fields`",
                words!(LOG_FIELDS),
                &Shape::Text("the name of a field in the log"),
            ),
            "With `format: json`: names of fields, where they differ.",
        ),
        optional(
            "client",
            Shape::Word("who names the client", words!(LOG_CLIENTS)),
            "Who says whom a line is about; the peer without it.",
        ),
    ],
};
