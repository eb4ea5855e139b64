//! Gates: what must be measured before a policy goes further, and what takes it back.
//!
//! Everything here is pure: bounds from the Site, figures from whoever measures, and out come a reading
//! for every gate and what follows. Two promises hold whatever is measured: a gate without enough
//! evidence never opens the way forward, and never takes a policy back either. Figures on harm are
//! about sources that were trusted before, never about the share of all traffic, which an attacker
//! chooses.

mod book;
mod figures;
mod judge;
mod reading;
mod set;

pub use self::{
    book::GateBook,
    figures::{Figures, Health},
    judge::{Course, Judgement, judge},
    reading::{Gate, Measure, Purpose, Reading, State},
    set::{Auto, GateSet, Promote, Rollback},
};

#[cfg(test)]
mod tests;
