//! The Site's section `privacy`: a preset, and what goes over it.

use super::{Fields, Node, Report, Typed, duration_ns};
use crate::{
    journal::{AddressForm, Preset, PrivacySettings},
    policy::form::PRIVACY,
};

/// What is written down of addresses.
pub(in crate::policy) const ADDRESSES: &[(&str, AddressForm)] = &[
    ("plain", AddressForm::Plain),
    ("pseudonymise", AddressForm::Pseudonymise),
    ("truncate", AddressForm::Truncate),
];

/// Sets of settings.
pub(in crate::policy) const PRESETS: &[(&str, Preset)] =
    &[("eu", Preset::Eu), ("uk", Preset::Uk), ("us", Preset::Us)];

/// Reads it: what each field says depends on nothing outside.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> PrivacySettings {
    let Some(fields) = Fields::read(report, node, &PRIVACY) else {
        return PrivacySettings::default();
    };
    let preset = fields.word(report, "preset", PRESETS);
    let mut settings =
        preset.map_or_else(PrivacySettings::default, |preset| preset.value.settings());
    if let Some(addresses) = fields.word(report, "addresses", ADDRESSES) {
        settings.addresses = addresses.value;
    }
    let retain = fields.quantity(report, "retain", duration_ns);
    let personal = fields.quantity(report, "retain_personal", duration_ns);
    let rotation = fields.quantity(report, "key_rotation", duration_ns);
    let keep = fields.quantity(report, "keep_keys", duration_ns);
    if let Some(typed) = personal.as_ref().filter(|typed| {
        typed.value > retain.as_ref().map_or(settings.retain_ns, |retain| retain.value)
    }) {
        let message = "personal parts are kept no longer than the records that they belong to";
        let help = "make `retain_personal` shorter, or `retain` longer";
        report.error(typed.at, message, Some(help.to_owned()));
    }
    let value = |typed: Option<Typed<u64>>| typed.map(|typed| typed.value);
    settings.retain_ns = value(retain).unwrap_or(settings.retain_ns);
    let longest = settings.retain_ns;
    settings.retain_personal_ns =
        value(personal).unwrap_or_else(|| settings.retain_personal_ns.min(longest));
    settings.key_rotation_ns = value(rotation).unwrap_or(settings.key_rotation_ns);
    // Without its key a pseudonym cannot be found by whoever asks to be forgotten.
    settings.keep_keys_ns = value(keep).unwrap_or(settings.retain_personal_ns);
    settings
}
