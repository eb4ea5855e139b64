//! The journal: what was decided, switched and asked for, by whom and with which figures, in a chain
//! of records in which no edit goes unnoticed.
//!
//! | file | what |
//! | --- | --- |
//! | `record` | what others hand over |
//! | `privacy`, `conceal`, `pseudonym` | what of it names somebody, and in which form it is kept |
//! | `chain`, `append` | records follow each other |
//! | `checkpoint`, `signature` | the host signs where the chain ends |
//! | `verify` | finds what was changed, and where |
//! | `retain`, `forget` | deletion that the chain knows of |
//! | `read`, `export` | looking at it, without the daemon |
//! | `desk` | the daemon's end: a bounded queue before the store |
//! | `erasure`, `offline` | requests to be forgotten, and what commands do where no daemon runs |

pub mod append;
mod chain;
mod checkpoint;
mod conceal;
mod deletions;
mod desk;
pub mod erasure;
pub mod export;
pub mod forget;
pub mod offline;
pub mod privacy;
mod pseudonym;
pub mod read;
mod record;
pub mod retain;
mod schema;
mod secret;
mod signature;
pub mod verify;

pub use self::{
    append::{Appended, Entry, PersonalPart, Sign, append},
    chain::{Hash, from_hex, hex},
    checkpoint::{Checkpoint, Tail},
    conceal::conceal,
    desk::{Desk, DeskWriter, JournalHealth, Places},
    forget::names_of,
    privacy::{AddressForm, Preset, PrivacySettings},
    pseudonym::PseudonymKeys,
    read::{Filter, ReadError, Reader, StoredRecord, time_text},
    record::{Actor, Kind, Record},
    schema::SCHEMA,
    secret::KeyError,
    signature::{PublicKey, SigningKey},
};

#[cfg(test)]
mod tests;
