//! Which network and which country an address belongs to, from MMDB files (MaxMind's format; GeoLite2
//! and what others publish in it).
//!
//! A file is read whole and checked through once; a look-up then costs a walk of at most 128 bits.

use std::{net::IpAddr, path::Path, time::SystemTime};

use maxminddb::{PathElement, Reader};
use weir_common::abi::SourceKey;

use super::watch::Watched;
use crate::profile::source;

/// Largest file that is read.
pub const LARGEST_BYTES: u64 = 512 << 20;

/// What a file tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tells {
    /// The number of the autonomous system.
    Asn,
    /// The country.
    Country,
}

/// A file's contents.
#[derive(Debug)]
pub struct GeoFile {
    reader: Reader<Vec<u8>>,
    tells: Tells,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It is not in this format, or damaged.
    #[error("it is no MMDB file, or damaged: {0}")]
    Broken(#[from] maxminddb::MaxMindDbError),
    /// It tells something else.
    #[error("it is of type `{found}`, and no record in it has {wanted}")]
    Other {
        /// Its type.
        found: String,
        /// What was looked for.
        wanted: &'static str,
    },
}

/// Records that are looked at to see what a file tells.
const TRIED: usize = 4096;

impl GeoFile {
    /// Checks and takes a file's contents.
    ///
    /// # Errors
    /// If it is damaged, or tells something else.
    pub fn new(contents: Vec<u8>, tells: Tells) -> Result<Self, GeoError> {
        let reader = Reader::from_source(contents)?;
        reader.verify()?;
        let file = Self { reader, tells };
        if file.tells_something()? {
            return Ok(file);
        }
        let wanted = match tells {
            Tells::Asn => "`autonomous_system_number`, or `asn`",
            Tells::Country => "`country.iso_code`, or `country_code`",
        };
        Err(GeoError::Other { found: file.reader.metadata().database_type.clone(), wanted })
    }

    fn tells_something(&self) -> Result<bool, GeoError> {
        for record in self.reader.networks(maxminddb::WithinOptions::default())?.take(TRIED) {
            let address = record?.network()?.ip();
            let found = match self.tells {
                Tells::Asn => self.asn_of(address).is_some(),
                Tells::Country => self.country_of(address).is_some(),
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// When its publisher made it.
    #[must_use]
    pub fn built_at(&self) -> SystemTime {
        self.reader.metadata().build_time().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The autonomous system of a source.
    #[must_use]
    pub fn asn(&self, source: &SourceKey) -> Option<u32> {
        self.asn_of(source::net(source).addr())
    }

    /// The country of a source: two capital letters, the first in the upper byte.
    #[must_use]
    pub fn country(&self, source: &SourceKey) -> Option<u16> {
        self.country_of(source::net(source).addr())
    }

    fn asn_of(&self, address: IpAddr) -> Option<u32> {
        let number = self.text_or(address, &[PathElement::Key("autonomous_system_number")]);
        match number.or_else(|| self.text_or(address, &[PathElement::Key("asn")]))? {
            TextOr::Number(number) => Some(number),
            TextOr::Text(text) => text
                .strip_prefix("AS")
                .or_else(|| text.strip_prefix("as"))
                .unwrap_or(text)
                .parse()
                .ok(),
        }
    }

    fn country_of(&self, address: IpAddr) -> Option<u16> {
        let paths: [&[PathElement<'_>]; 4] = [
            &[PathElement::Key("country"), PathElement::Key("iso_code")],
            &[PathElement::Key("registered_country"), PathElement::Key("iso_code")],
            &[PathElement::Key("country_code")],
            &[PathElement::Key("country")],
        ];
        paths.into_iter().find_map(|path| match self.text_or(address, path)? {
            TextOr::Text(text) => packed(text),
            TextOr::Number(_) => None,
        })
    }

    /// A value of an address's record, as a number or a text. Records of another form say nothing.
    fn text_or(&self, address: IpAddr, path: &[PathElement<'_>]) -> Option<TextOr<'_>> {
        let found = self.reader.lookup(address).ok()?;
        if let Ok(text) = found.decode_path::<&str>(path) {
            return text.map(TextOr::Text);
        }
        found.decode_path::<u32>(path).ok()?.map(TextOr::Number)
    }
}

/// Reads a file once, for those that have no daemon: replay, tests, `weir check`.
///
/// # Errors
/// Why it cannot be used.
pub fn read_file(path: &Path, tells: Tells) -> Result<GeoFile, String> {
    let mut file = Watched::new(path.to_owned(), LARGEST_BYTES);
    let contents = file.read_if_new(SystemTime::now()).map_err(|error| error.to_string())?;
    GeoFile::new(contents.unwrap_or_default(), tells)
        .map_err(|error| format!("{}: {error}", path.display()))
}

enum TextOr<'a> {
    Text(&'a str),
    Number(u32),
}

/// Two letters as a number: the code of `DE` is `0x4445`.
#[must_use]
pub fn packed(code: &str) -> Option<u16> {
    match code.as_bytes() {
        [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
            Some(u16::from_be_bytes([first.to_ascii_uppercase(), second.to_ascii_uppercase()]))
        }
        _ => None,
    }
}

/// The letters of a packed country.
#[must_use]
pub fn unpacked(country: u16) -> String {
    country.to_be_bytes().iter().map(|letter| char::from(*letter)).collect()
}
