//! The Site's section `privacy`.

use super::*;
use crate::journal::{AddressForm, Preset};

const DAY: u64 = 86_400_000_000_000;

fn privacy(section: &str) -> PrivacySettings {
    compile(&sample("sensor:", &format!("privacy: {section}\nsensor:"))).unwrap().privacy
}

#[test]
fn without_a_section_most_is_protected() {
    let none = compile(&sample("", "")).unwrap().privacy;
    assert_eq!(none, Preset::Eu.settings());
    assert_eq!(none.addresses, AddressForm::Pseudonymise);
}

#[test]
fn a_preset_is_a_set_of_settings_and_fields_go_over_it() {
    assert_eq!(privacy("{preset: us}"), Preset::Us.settings());
    let over = privacy("{preset: us, addresses: truncate, retain: 400d}");
    assert_eq!(over.addresses, AddressForm::Truncate);
    assert_eq!((over.retain_ns, over.retain_personal_ns), (400 * DAY, 366 * DAY));
}

#[test]
fn personal_parts_and_their_keys_go_with_the_records() {
    let short = privacy("{retain: 7d}");
    assert_eq!((short.retain_personal_ns, short.keep_keys_ns), (7 * DAY, 7 * DAY));
    let personal = privacy("{retain_personal: 2d, key_rotation: 1d}");
    assert_eq!((personal.retain_personal_ns, personal.keep_keys_ns), (2 * DAY, 2 * DAY));
    assert_eq!(personal.key_rotation_ns, DAY);
    assert_eq!(privacy("{keep_keys: 90d}").keep_keys_ns, 90 * DAY);
}
