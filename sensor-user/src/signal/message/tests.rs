//! Messages, right and hostile.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::signal::{entity::Pseudonyms, entry::tests::hearing};

const NOW: Now = Now { unix_ns: 1_814_356_810_000_000_000, monotonic_ns: 5_000_000_000_000 };

fn heard(text: &str) -> Result<Heard, Refusal> {
    hearing().message(text.as_bytes(), &NOW)
}

#[test]
fn a_message_with_all_there_is() {
    let found = heard(
        r#"{"signal":"login_failed","address":"203.0.113.7","port":51234,"service":"web","account":" \u0041da ","endpoint":"/login?next=/","time":"2027-06-30T14:00:00.5+02:00"}"#,
    )
    .unwrap();
    let pseudonyms = Pseudonyms::test();
    assert_eq!(&*found.name, "login_failed");
    assert_eq!(found.client, IpAddr::from([203, 0, 113, 7]));
    assert_eq!((found.port, found.service), (51_234, 2));
    assert_eq!(found.entity, pseudonyms.entity("ada"));
    assert_eq!(found.endpoint, pseudonyms.endpoint("/login"));
    let ago = NOW.monotonic_ns - found.at_ns;
    assert!((9_400_000_000..=9_500_000_000).contains(&ago), "{ago}");
}

#[test]
fn a_message_with_little() {
    let found =
        heard(r#"{"address":"[2001:db8::7]:443","signal":"told","account":null,"endpoint":""}"#);
    let found = found.unwrap();
    assert_eq!(found.client.to_string(), "2001:db8::7");
    assert_eq!((found.port, found.service, found.entity, found.endpoint), (0, 0, 0, 0));
    assert_eq!(found.at_ns, NOW.monotonic_ns);
}

#[test]
fn a_message_that_nginx_sends_as_if_to_syslog() {
    let header = "<190>Jun 30 12:00:10 edge nginx: ";
    let object = r#"{"signal":"told","address":"203.0.113.7","endpoint":"/a{b<c"}"#;
    let found = heard(&format!("{header}{object}"));
    assert_eq!(found, heard(object));
    assert!(found.is_ok());
    assert_eq!(heard(header), Err(Refusal::NotUnderstood));
    assert_eq!(heard(&format!("said: {object}")), Err(Refusal::NotUnderstood));
}

#[test]
fn whom_it_is_about_behind_proxies() {
    for (fields, expected) in [
        (r#""address":"10.0.0.1","forwarded":"198.51.100.1, 203.0.113.7""#, Ok("203.0.113.7")),
        (r#""peer":"10.0.0.1","forwarded":"for=\"[2001:db8::7]:1\"""#, Ok("2001:db8::7")),
        (r#""peer":"10.0.0.1","address":"203.0.113.7""#, Ok("203.0.113.7")),
        // An application that believed a header of nobody's.
        (r#""peer":"192.0.2.1","address":"203.0.113.7""#, Ok("192.0.2.1")),
        (r#""peer":"192.0.2.1","forwarded":"203.0.113.7""#, Ok("192.0.2.1")),
        (r#""peer":"192.0.2.1""#, Ok("192.0.2.1")),
        (r#""peer":"10.0.0.1""#, Err(Refusal::NoClient)),
        (r#""address":"10.0.0.1""#, Err(Refusal::NoClient)),
        (r#""peer":"10.0.0.1","address":"10.0.0.2""#, Err(Refusal::NoClient)),
    ] {
        let found = heard(&format!(r#"{{"signal":"told",{fields}}}"#));
        let found = found.map(|heard| heard.client.to_string());
        assert_eq!(found, expected.map(ToOwned::to_owned), "{fields}");
    }
    let found = heard(r#"{"signal":"told","peer":"10.0.0.1","address":"203.0.113.7","port":7}"#);
    assert_eq!(found.unwrap().port, 0, "the port is the proxy's");
}

#[test]
fn what_is_refused_says_why() {
    for (text, expected) in [
        ("", Refusal::NotUnderstood),
        ("login failed for ada", Refusal::NotUnderstood),
        ("[]", Refusal::NotUnderstood),
        (r#"{"signal":"told","address":"203.0.113.7"} {}"#, Refusal::NotUnderstood),
        (r#"{"signal":17,"address":"203.0.113.7"}"#, Refusal::NotUnderstood),
        (r#"{"signal":"told","address":"203.0.113.7","port":70000}"#, Refusal::NotUnderstood),
        (r#"{"signal":"told","signal":"told","address":"203.0.113.7"}"#, Refusal::NotUnderstood),
        (r#"{"signal":"told","address":"203.0.113.7","user":"ada"}"#, Refusal::UnknownField),
        (r#"{"address":"203.0.113.7"}"#, Refusal::Incomplete),
        (r#"{"signal":"told"}"#, Refusal::Incomplete),
        (r#"{"signal":"told","address":""}"#, Refusal::Incomplete),
        (r#"{"signal":"told","address":"localhost"}"#, Refusal::BadAddress),
        (r#"{"signal":"told","address":"0.0.0.0"}"#, Refusal::BadAddress),
        (r#"{"signal":"told","address":"203.0.113.7","peer":"?"}"#, Refusal::BadAddress),
        (r#"{"signal":"logn_failed","address":"203.0.113.7"}"#, Refusal::Undeclared),
        (r#"{"signal":"told","address":"203.0.113.7","service":"shop"}"#, Refusal::UnknownService),
        (r#"{"signal":"told","address":"203.0.113.7","time":"now"}"#, Refusal::BadTime),
        (
            r#"{"signal":"told","address":"203.0.113.7","time":"2027-06-30T09:00:00Z"}"#,
            Refusal::TooOld,
        ),
    ] {
        assert_eq!(heard(text), Err(expected), "{text}");
    }
}

#[test]
fn deep_nesting_costs_nothing() {
    let deep = format!(r#"{{"signal":"told","x":{}"#, "[".repeat(8000));
    assert_eq!(heard(&deep), Err(Refusal::NotUnderstood));
}

proptest! {
    #[test]
    fn nothing_written_breaks_it(text in ".{0,200}", value in ".{0,40}") {
        let hearing = hearing();
        let _ = hearing.message(text.as_bytes(), &NOW);
        let message = serde_json::json!({
            "signal": "told", "address": "203.0.113.7", "forwarded": value, "account": value,
            "endpoint": value,
        });
        let found = hearing.message(message.to_string().as_bytes(), &NOW).unwrap();
        prop_assert_eq!(found.client, IpAddr::from([203, 0, 113, 7]));
    }
}
