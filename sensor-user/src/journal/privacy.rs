//! What is kept of whom, in which form, and for how long.

use serde::Serialize;

/// What is written down of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressForm {
    /// The address.
    Plain,
    /// A pseudonym: a keyed hash. Who has the key can ask for an address, nobody can read one.
    #[default]
    Pseudonymise,
    /// Its network: /24 of IPv4, /48 of IPv6.
    Truncate,
}

/// The Site's section `privacy`, resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PrivacySettings {
    /// What is written down of addresses.
    pub addresses: AddressForm,
    /// How long records are kept, nanoseconds.
    pub retain_ns: u64,
    /// How long their personal parts are kept, nanoseconds; at most as long as they.
    pub retain_personal_ns: u64,
    /// How often the key of pseudonyms is replaced, nanoseconds.
    pub key_rotation_ns: u64,
    /// How long a replaced key of pseudonyms is kept, nanoseconds.
    pub keep_keys_ns: u64,
}

/// A day in nanoseconds.
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

/// A set of settings by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Pseudonyms; personal parts for 30 days, records for 180.
    Eu,
    /// The same as `eu`.
    Uk,
    /// Addresses in clear; personal parts for 12 months, records for six years.
    Us,
}

impl Preset {
    /// What it stands for.
    #[must_use]
    pub const fn settings(self) -> PrivacySettings {
        match self {
            Self::Eu | Self::Uk => PrivacySettings {
                addresses: AddressForm::Pseudonymise,
                retain_ns: 180 * DAY_NS,
                retain_personal_ns: 30 * DAY_NS,
                key_rotation_ns: 30 * DAY_NS,
                keep_keys_ns: 30 * DAY_NS,
            },
            Self::Us => PrivacySettings {
                addresses: AddressForm::Plain,
                // Six years with two leap days.
                retain_ns: 2192 * DAY_NS,
                retain_personal_ns: 366 * DAY_NS,
                key_rotation_ns: 366 * DAY_NS,
                keep_keys_ns: 366 * DAY_NS,
            },
        }
    }
}

impl Default for PrivacySettings {
    /// What protects most of what is known by name: `eu`.
    fn default() -> Self {
        Preset::Eu.settings()
    }
}
