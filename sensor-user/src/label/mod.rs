//! Labels: what somebody said that a source was, kept with what was known of it then.

mod entry;
mod list;
mod store;

pub use self::{
    entry::{About, Label, Observed, Verdict},
    list::{LabelLine, LabelList, parse, refused},
    store::{Export, KEPT, SCHEMA, count, forget, insert, latest, list},
};
