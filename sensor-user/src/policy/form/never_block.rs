//! The Site's section `never_block`.

use super::{Form, PREFIX, Shape, optional};

pub(in crate::policy) const NEVER_BLOCK: Form = Form {
    id: "never_block",
    what: "`never_block`",
    about: "Who is never blocked, beside this host, its gateways and declared proxies.",
    fields: &[
        optional(
            "management",
            Shape::List("ports", &Shape::Whole("a port", 1, 65535)),
            "TCP ports that the host is managed by, at which whoever is logged in stays; without it, \
             where sshd listens.",
        ),
        optional(
            "max_sessions",
            Shape::Whole("a number of peers", 0, 1024),
            "How many peers of sessions count at most; 64. With 0, none.",
        ),
        optional(
            "ranges",
            Shape::Named("ranges", &Shape::List("addresses", &PREFIX)),
            "Ranges in which nobody is blocked, by name, such as a cluster's own.",
        ),
    ],
};
