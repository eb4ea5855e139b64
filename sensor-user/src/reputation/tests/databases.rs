//! Networks and countries.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use weir_common::abi::SourceKey;

use super::{
    super::geo::{GeoError, GeoFile, Tells, packed, unpacked},
    mmdb::{Value, database},
};
use crate::system::address;

fn source(text: &str) -> SourceKey {
    SourceKey::from_address(&address::words(text.parse().unwrap()))
}

fn country(code: &'static str) -> Value {
    Value::Map(vec![("country", Value::Map(vec![("iso_code", Value::Text(code))]))])
}

fn asn(number: u32) -> Value {
    let name = ("autonomous_system_organization", Value::Text("Example"));
    Value::Map(vec![("autonomous_system_number", Value::Number(number)), name])
}

fn asns() -> Vec<u8> {
    database(
        "GeoLite2-ASN",
        &[("192.0.2.0/24", asn(64_496)), ("2001:db8::/32", asn(4_200_000_000))],
    )
}

#[test]
fn networks_and_countries_of_both_families() {
    let file = GeoFile::new(asns(), Tells::Asn).unwrap();
    for (address, expected) in [
        ("192.0.2.7", Some(64_496)),
        ("192.0.3.7", None),
        ("2001:db8:7::1", Some(4_200_000_000)),
        ("2001:db9::1", None),
    ] {
        assert_eq!(file.asn(&source(address)), expected, "{address}");
    }
    assert_eq!(file.built_at(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let records = [("192.0.2.0/25", country("DE")), ("192.0.2.128/25", country("fr"))];
    let file = GeoFile::new(database("GeoLite2-Country", &records), Tells::Country).unwrap();
    let name = |address| file.country(&source(address)).map(unpacked);
    assert_eq!(name("192.0.2.1").as_deref(), Some("DE"));
    assert_eq!(name("192.0.2.200").as_deref(), Some("FR"));
    assert_eq!(name("192.0.3.1"), None);
}

#[test]
fn other_publishers_call_things_otherwise() {
    let record = Value::Map(vec![
        ("asn", Value::Text("AS64496")),
        ("country_code", Value::Text("NL")),
        ("country", Value::Text("Netherlands")),
    ]);
    let text = database("ipinfo lite", &[("192.0.2.0/24", record)]);
    let asns = GeoFile::new(text.clone(), Tells::Asn).unwrap();
    assert_eq!(asns.asn(&source("192.0.2.7")), Some(64_496));
    let countries = GeoFile::new(text, Tells::Country).unwrap();
    assert_eq!(countries.country(&source("192.0.2.7")), packed("NL"));
}

#[test]
fn a_file_of_something_else_is_refused() {
    let error = GeoFile::new(asns(), Tells::Country).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is of type `GeoLite2-ASN`, and no record in it has `country.iso_code`, or `country_code`"
    );
    for text in [&b""[..], b"<html>", &asns()[..asns().len() / 2]] {
        let error = GeoFile::new(text.to_vec(), Tells::Asn).unwrap_err();
        assert!(matches!(error, GeoError::Broken(_)), "{error}");
    }
}

#[test]
fn a_country_is_two_letters() {
    assert_eq!(packed("de"), Some(0x4445));
    for wrong in ["", "D", "DEU", "1A", "ÄÖ"] {
        assert_eq!(packed(wrong), None, "{wrong}");
    }
    assert_eq!(unpacked(0x4445), "DE");
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_answers(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = asns();
        for (place, byte) in damage {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if cut.index(4) == 0 {
            text.truncate(cut.index(text.len()));
        }
        for tells in [Tells::Asn, Tells::Country] {
            if let Ok(file) = GeoFile::new(text.clone(), tells) {
                let _ = (file.asn(&source("192.0.2.7")), file.country(&source("2001:db8::1")));
            }
        }
    }
}
