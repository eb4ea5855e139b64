//! What documents look like: which fields there are, what each holds, and what it is for. Read by
//! the reader, which complains about everything else, and by the schema, which tells editors.

mod brakes;
mod cases;
mod gates;
mod modes;
mod never_block;
mod policy;
mod privacy;
mod site;

pub(super) use self::{
    brakes::{BRAKES, BREAKER, TRUSTED},
    cases::{CASE, EXPECTATION, PATTERN, TESTS, WITHIN},
    gates::{GATES, PROMOTE, ROLLBACK},
    modes::{MODE, MODE_POLICY, MODE_SERVICE},
    never_block::NEVER_BLOCK,
    policy::{AFTER, EXEMPTION, METADATA, POLICY, RULE},
    privacy::PRIVACY,
    site::{
        DEFAULTS, FEED, GEO, GROUP, LADDER_STEP, LIST_FILE, LOG, LOG_LINE, LOOKUP, PROXY, RATE,
        SENSOR, SERVICE, SIGNAL, SITE,
    },
};

/// All of them.
#[cfg(test)]
pub(super) const ALL: &[&Form] = &[
    &SITE,
    &SERVICE,
    &RATE,
    &PROXY,
    &LIST_FILE,
    &SIGNAL,
    &LOG,
    &LOG_LINE,
    &GROUP,
    &LADDER_STEP,
    &DEFAULTS,
    &GATES,
    &PROMOTE,
    &ROLLBACK,
    &SENSOR,
    &LOOKUP,
    &BRAKES,
    &TRUSTED,
    &BREAKER,
    &FEED,
    &GEO,
    &NEVER_BLOCK,
    &PRIVACY,
    &MODE,
    &MODE_SERVICE,
    &MODE_POLICY,
    &POLICY,
    &METADATA,
    &EXEMPTION,
    &RULE,
    &AFTER,
];

/// A mapping with known fields.
#[derive(Debug)]
pub(super) struct Form {
    /// Its name in the schema.
    pub(super) id: &'static str,
    /// What it is, for messages: `a rule`.
    pub(super) what: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    /// Its fields.
    pub(super) fields: &'static [Field],
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) shape: Shape,
    /// Whether it must be there.
    pub(super) need: Need,
    /// What it says.
    pub(super) about: &'static str,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Need {
    /// It need not.
    Optional,
    /// It must; like this.
    Required(&'static str),
    /// It must, and can come from an included file; like this.
    Somewhere(&'static str),
    /// It cannot be there: why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// How far a policy goes was a field of files once.
const STAGED_MODE: Field = Field {
    name: "mode",
    shape: Shape::Text("a mode"),
    need: Need::Refused(
        "how far a policy goes is no matter of files",
        "take it out: `stage_max` is the ceiling, and the stage moves by `weir promote`, or begins with \
         `weir run --stage`",
    ),
    about: "",
};

/// What a field holds.
#[derive(Debug)]
pub(super) enum Shape {
    /// Any text: what it is, for messages.
    Text(&'static str),
    /// A name of letters, digits, `-` and `_`.
    Name(&'static str),
    /// `true` or `false`.
    Switch(&'static str),
    /// A whole number within limits.
    Whole(&'static str, i64, i64),
    /// One of some words.
    Word(&'static str, fn() -> Vec<&'static str>),
    /// A text that is read as something, and a pattern that it matches.
    Quantity(Quantity),
    /// A list.
    List(&'static str, &'static Shape),
    /// One of them, or a list.
    OneOrMore(&'static Shape),
    /// A mapping from names that the author chooses.
    Named(&'static str, &'static Shape),
    /// A mapping from known names.
    Keyed(&'static str, fn() -> Vec<&'static str>, &'static Shape),
    /// A mapping with known fields.
    Form(&'static Form),
    /// The first, or the second.
    Either(&'static Shape, &'static Shape),
}

/// A text that is read as something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quantity {
    /// What it is, for messages.
    pub(super) what: &'static str,
    /// A pattern (of both Rust and ECMA-262) that every right one matches.
    pub(super) pattern: &'static str,
    /// How it is written.
    pub(super) examples: &'static [&'static str],
    /// Whether a number is right too.
    pub(super) or_number: bool,
}

impl Form {
    /// A field by its name.
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The names of fields that can be there.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let usable = self.fields.iter().filter(|field| !matches!(field.need, Need::Refused(..)));
        usable.map(|field| field.name).collect()
    }
}

impl Shape {
    /// What it is, for messages.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Text(what)
            | Self::Name(what)
            | Self::Switch(what)
            | Self::Whole(what, ..)
            | Self::Word(what, _)
            | Self::List(what, _)
            | Self::Named(what, _)
            | Self::Keyed(what, ..) => what,
            Self::Quantity(quantity) => quantity.what,
            Self::Form(form) => form.what,
            Self::OneOrMore(shape) | Self::Either(shape, _) => shape.what(),
        }
    }
}

const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, need: Need::Optional, about }
}

const fn required(
    name: &'static str,
    shape: Shape,
    example: &'static str,
    about: &'static str,
) -> Field {
    Field { name, shape, need: Need::Required(example), about }
}

/// The words of a set.
macro_rules! words {
    ($set:path) => {
        || $set.iter().map(|(word, _)| *word).collect()
    };
}
use words;

const fn quantity(
    what: &'static str,
    pattern: &'static str,
    examples: &'static [&'static str],
) -> Shape {
    Shape::Quantity(Quantity { what, pattern, examples, or_number: false })
}

const DURATION: Shape = quantity(
    "a duration",
    r"^\s*[0-9]+\s*[A-Za-zµ]+(\s*[0-9]+\s*[A-Za-zµ]+)*\s*$",
    &["500ms", "10s", "5m", "24h", "7days"],
);

const RATE_TEXT: Shape =
    quantity("a rate", r"^\s*[0-9]+\s*/\s*(s|m|min|h)\s*$", &["5/s", "30/m", "100/h"]);

pub(super) const DROPS: Shape =
    quantity("a number of drops a minute", r"^\s*[0-9]+\s*/\s*(s|m|min|h)\s*$", &["60/m", "600/m"]);

const DATE: Shape = quantity("a date", r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*$", &["2027-06-30"]);

const PREFIX: Shape = quantity(
    "an address or prefix",
    r"^\s*[0-9A-Fa-f:.]+(/[0-9]{1,3})?\s*$",
    &["192.0.2.7", "2001:db8::/32"],
);

const NOTE: Shape = Shape::Text("a text");
