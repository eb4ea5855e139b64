//! Names of actions, modes and service sets, as they appear in files, listings and records.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use weir_common::abi::{Action, Mode, ServiceSet};

/// The name of an action.
#[must_use]
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Mark => "mark",
        Action::Limit => "limit",
        Action::Reject => "reject",
        Action::Drop => "drop",
    }
}

/// The action of a name.
#[must_use]
pub fn action_from_name(name: &str) -> Option<Action> {
    [Action::Allow, Action::Mark, Action::Limit, Action::Reject, Action::Drop]
        .into_iter()
        .find(|action| action_name(*action) == name)
}

/// The name of a mode.
#[must_use]
pub const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "off",
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    }
}

/// The mode of a name.
#[must_use]
pub fn mode_from_name(name: &str) -> Option<Mode> {
    [Mode::Off, Mode::Observe, Mode::Enforce].into_iter().find(|mode| mode_name(*mode) == name)
}

/// The ids in a set.
pub fn service_ids(set: ServiceSet) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(move |id| set.contains(*id))
}

pub(crate) fn action<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action_name(*action))
}

pub(crate) fn read_action<'de, D: Deserializer<'de>>(from: D) -> Result<Action, D::Error> {
    let name = String::deserialize(from)?;
    action_from_name(&name).ok_or_else(|| D::Error::custom(format!("no action `{name}`")))
}

pub(crate) fn mode<S: Serializer>(mode: &Mode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode_name(*mode))
}

pub(crate) fn read_mode<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
    let name = String::deserialize(from)?;
    mode_from_name(&name).ok_or_else(|| D::Error::custom(format!("no mode `{name}`")))
}

/// A set as its ids, or as `"all"`.
pub(crate) fn services<S: Serializer>(set: &ServiceSet, serializer: S) -> Result<S::Ok, S::Error> {
    if *set == ServiceSet::ALL {
        serializer.serialize_str("all")
    } else {
        serializer.collect_seq(service_ids(*set))
    }
}

pub(crate) fn read_services<'de, D: Deserializer<'de>>(from: D) -> Result<ServiceSet, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Typed {
        Word(String),
        Ids(Vec<u8>),
    }
    match Typed::deserialize(from)? {
        Typed::Word(word) if word == "all" => Ok(ServiceSet::ALL),
        Typed::Word(word) => Err(D::Error::custom(format!("no service set `{word}`"))),
        Typed::Ids(ids) => {
            let mut set = ServiceSet::NONE;
            for id in ids {
                set.insert(id);
            }
            Ok(set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, Deserialize, PartialEq, Debug)]
    struct Sample {
        #[serde(serialize_with = "action", deserialize_with = "read_action")]
        action: Action,
        #[serde(serialize_with = "mode", deserialize_with = "read_mode")]
        mode: Mode,
        #[serde(serialize_with = "services", deserialize_with = "read_services")]
        services: ServiceSet,
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut some = ServiceSet::one(0);
        some.insert(255);
        for services in [ServiceSet::ALL, ServiceSet::NONE, some] {
            let sample = Sample { action: Action::Reject, mode: Mode::Observe, services };
            let text = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&text).unwrap(), sample);
        }
        let sample = Sample { action: Action::Drop, mode: Mode::Enforce, services: some };
        assert_eq!(
            serde_json::to_string(&sample).unwrap(),
            r#"{"action":"drop","mode":"enforce","services":[0,255]}"#
        );
    }
}
