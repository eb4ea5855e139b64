//! The journal: what was decided, switched and asked for, by whom and with which figures, in a chain
//! of records in which no edit goes unnoticed.

mod record;

pub use self::record::{Actor, Kind, Record};
