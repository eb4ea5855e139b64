//! The Site's section `privacy`.

use super::{DURATION, Form, Shape, optional, words};
use crate::policy::raw::{ADDRESSES, PRESETS};

pub(in crate::policy) const PRIVACY: Form = Form {
    id: "privacy",
    what: "`privacy`",
    about: "What the journal keeps of whom, and for how long.",
    fields: &[
        optional(
            "preset",
            Shape::Word("a preset", words!(PRESETS)),
            "A set of these by its name; `eu` where none is named. Fields go over it.",
        ),
        optional(
            "addresses",
            Shape::Word("a form of addresses", words!(ADDRESSES)),
            "What is written down of addresses: they themselves, a pseudonym, or their network.",
        ),
        optional("retain", DURATION, "How long records are kept."),
        optional(
            "retain_personal",
            DURATION,
            "How long what names somebody is kept in them; at most as long.",
        ),
        optional("key_rotation", DURATION, "How often the key of pseudonyms is replaced."),
        optional(
            "keep_keys",
            DURATION,
            "How long a replaced key is kept, so that somebody can still be found and forgotten; as \
             long as what names them.",
        ),
    ],
};
