//! A record's personal part, in the form that privacy asks for.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::{Value, json};

use super::{
    append::{Entry, PersonalPart},
    privacy::AddressForm,
    pseudonym::{PseudonymKeys, judged_as},
    record::Record,
    secret::{self, KeyError},
};

mod text;

pub(super) use text::mask;

/// Addresses that one record names at most; how many more there were stands beside them.
const MOST: usize = 4096;
/// What stands in a body in the place of somebody whom the record is about.
const SOMEBODY: &str = "(somebody)";

/// What a record will look like.
///
/// # Errors
/// If the system gives no random bytes, or pseudonyms are asked for and there is no key.
pub fn conceal(
    record: &Record,
    form: AddressForm,
    keys: Option<&PseudonymKeys>,
) -> Result<Entry, KeyError> {
    let called = |net: &IpNet| called(net, form, keys);
    let mut about = Vec::new();
    for net in record.about.iter().take(MOST) {
        about.extend(called(net).ok_or(KeyError::NoRandomness)?);
    }
    about.dedup();
    let others = record.about.len().saturating_sub(MOST);
    let mut content = serde_json::Map::new();
    if !about.is_empty() {
        content.insert("about".into(), json!(about));
    }
    if others > 0 {
        content.insert("others".into(), json!(others));
    }
    if let Some(more) = &record.personal {
        let mut more = more.clone();
        if form != AddressForm::Plain {
            let one = |net: &IpNet| called(net).and_then(|names| names.into_iter().next());
            each_text(&mut more, &mut |text| mask(text, &mut |net| one(net)));
        }
        content.insert("more".into(), more);
    }
    let personal = if content.is_empty() {
        None
    } else {
        let content = Value::Object(content).to_string();
        Some(PersonalPart { salt: secret::random()?, form: form_name(form), content })
    };
    Ok(Entry { personal, ..impersonal(record) })
}

/// The same without what names somebody.
pub(super) fn impersonal(record: &Record) -> Entry {
    let mut body = record.body.clone();
    if !record.about.is_empty() {
        // Whoever wrote the record should not have; what cannot be taken out later must not be there.
        let is_about = |net: &IpNet| {
            record.about.iter().take(MOST).any(|about| about.contains(net) || net.contains(about))
        };
        let mut named =
            |net: &IpNet| (net.prefix_len() > 0 && is_about(net)).then(|| SOMEBODY.to_owned());
        each_text(&mut body, &mut |text| mask(text, &mut named));
    }
    Entry {
        unix_ns: i64::try_from(record.unix_ns).unwrap_or(i64::MAX),
        kind: record.kind,
        // An actor is numbers and fixed words.
        actor: serde_json::to_string(&record.actor).unwrap_or_default(),
        body: body.to_string(),
        personal: None,
    }
}

/// What a form is called in the table.
pub(super) const fn form_name(form: AddressForm) -> &'static str {
    match form {
        AddressForm::Plain => "plain",
        AddressForm::Pseudonymise => "pseudonym",
        AddressForm::Truncate => "truncated",
    }
}

/// What a network is called in records; `None`: it must not be named.
fn called(net: &IpNet, form: AddressForm, keys: Option<&PseudonymKeys>) -> Option<Vec<String>> {
    let net = net.trunc();
    Some(match form {
        AddressForm::Plain => vec![net.to_string()],
        AddressForm::Truncate => vec![truncated(&net).to_string()],
        AddressForm::Pseudonymise => {
            let keys = keys?;
            let mut names = vec![keys.pseudonym(&net)?];
            // So that whoever asks for the /64 finds an address of it.
            names.extend(judged_as(&net).and_then(|net| keys.pseudonym(&net)));
            names
        }
    })
}

/// The /24 or /48 that a network lies in; itself where it is larger.
pub(super) fn truncated(net: &IpNet) -> IpNet {
    match net {
        IpNet::V4(v4) => {
            IpNet::V4(Ipv4Net::new(v4.network(), v4.prefix_len().min(24)).unwrap_or(*v4).trunc())
        }
        IpNet::V6(v6) => {
            IpNet::V6(Ipv6Net::new(v6.network(), v6.prefix_len().min(48)).unwrap_or(*v6).trunc())
        }
    }
}

/// Replaces texts, and names of fields, wherever they are in a value.
fn each_text(value: &mut Value, replace: &mut dyn FnMut(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            if let Some(other) = replace(text) {
                *text = other;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, replace)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| each_text(field, replace));
            if fields.keys().any(|name| replace(name).is_some()) {
                let old = std::mem::take(fields);
                for (name, field) in old {
                    fields.insert(replace(&name).unwrap_or(name), field);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Actor, Kind};

    fn record() -> Record {
        Record::new(
            Kind::Block,
            &Actor::Daemon,
            json!({"reason": "see 192.0.2.7, ours is 198.51.100.1", "by": {"192.0.2.7": 1}}),
        )
        .about(["192.0.2.7/32".parse().unwrap(), "2001:db8:1:2::/64".parse().unwrap()])
        .with_personal(json!({"note": ["called from 203.0.113.9:443"]}))
    }

    fn content(entry: &Entry) -> Value {
        serde_json::from_str(&entry.personal.as_ref().unwrap().content).unwrap()
    }

    #[test]
    fn a_body_never_names_whom_it_is_about() {
        let entry = conceal(&record(), AddressForm::Plain, None).unwrap();
        let body: Value = serde_json::from_str(&entry.body).unwrap();
        assert_eq!(
            body,
            json!({"reason": "see (somebody), ours is 198.51.100.1", "by": {"(somebody)": 1}})
        );
        let about = json!(["192.0.2.7/32", "2001:db8:1:2::/64"]);
        let note = json!({"note": ["called from 203.0.113.9:443"]});
        assert_eq!(content(&entry), json!({"about": about, "more": note}));
    }

    #[test]
    fn truncated_records_name_networks_only() {
        let entry = conceal(&record(), AddressForm::Truncate, None).unwrap();
        let personal = entry.personal.as_ref().unwrap();
        assert_eq!(personal.form, "truncated");
        let about = json!(["192.0.2.0/24", "2001:db8:1::/48"]);
        let note = json!({"note": ["called from 203.0.113.0/24"]});
        assert_eq!(content(&entry), json!({"about": about, "more": note}));
    }

    #[test]
    fn pseudonyms_hide_addresses_in_free_text_too() {
        let place = std::env::temp_dir().join(format!("weir-conceal-{}", std::process::id()));
        let keys = PseudonymKeys::open(&place.join("k"), 1).unwrap();
        let mut record = record();
        record.about.push("2001:db8:1:2::5/128".parse().unwrap());
        let entry = conceal(&record, AddressForm::Pseudonymise, Some(&keys)).unwrap();
        let text = format!("{entry:?}");
        for address in ["192.0.2.7", "2001:db8", "203.0.113"] {
            assert!(!text.contains(address), "{text}");
        }
        let names = content(&entry)["about"].as_array().unwrap().clone();
        // The host, the /64, the address and once more the /64 that it lies in.
        assert_eq!(names.len(), 4);
        assert_eq!(names[1], names[3]);
        assert!(
            conceal(&record, AddressForm::Pseudonymise, None).is_err(),
            "without a key nothing is written rather than the address"
        );
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_record_about_nobody_has_no_personal_part() {
        let record = Record::new(Kind::Start, &Actor::User(0), json!({"own": "192.0.2.1"}));
        let entry = conceal(&record, AddressForm::Pseudonymise, None).unwrap();
        assert!(entry.personal.is_none());
        assert_eq!(
            (entry.body.as_str(), entry.actor.as_str()),
            (r#"{"own":"192.0.2.1"}"#, r#"{"user":0}"#)
        );
    }

    #[test]
    fn a_record_about_very_many_says_how_many_it_leaves_out() {
        let record = record()
            .about((0..5000_u32).map(|n| IpNet::from(std::net::IpAddr::from(n.to_be_bytes()))));
        let entry = conceal(&record, AddressForm::Plain, None).unwrap();
        assert_eq!(content(&entry)["about"].as_array().unwrap().len(), MOST);
        assert_eq!(content(&entry)["others"], json!(5002 - MOST));
    }
}
