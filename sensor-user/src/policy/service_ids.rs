//! Which number a service has in the kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which number a service has. Verdict classes in the kernel name services by number, so a number
/// once given stays with its name, also over restarts and while the service is away.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceIds(BTreeMap<String, u8>);

impl ServiceIds {
    /// Numbers for `names`: those known keep theirs, new ones get the lowest free number in order
    /// of their names. Only when all 255 are taken are those of absent services given away.
    /// `None` if there are more than 255 names.
    #[must_use]
    pub fn assign<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut wanted: Vec<&str> = names.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut ids = self.0.clone();
        for name in &wanted {
            if ids.contains_key(*name) {
                continue;
            }
            let free = (1..=u8::MAX).find(|id| !ids.values().any(|taken| taken == id));
            let id = match free {
                Some(id) => id,
                None => {
                    let absent = ids.keys().find(|name| !wanted.contains(&name.as_str()))?.clone();
                    ids.remove(&absent)?
                }
            };
            ids.insert((*name).to_owned(), id);
        }
        Some(Self(ids))
    }

    /// The number of a service.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u8> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_names_and_stay() {
        let first = ServiceIds::default().assign(["shop", "login"]).unwrap();
        assert_eq!((first.get("login"), first.get("shop")), (Some(1), Some(2)));
        let second = first.assign(["api", "shop"]).unwrap();
        assert_eq!((second.get("api"), second.get("shop")), (Some(3), Some(2)));
        let third = second.assign(["login"]).unwrap();
        assert_eq!(third.get("login"), Some(1), "an absent service keeps its number");
    }

    #[test]
    fn numbers_run_out_only_for_too_many_present_services() {
        let names: Vec<String> = (0..255).map(|n| format!("s{n:03}")).collect();
        let full = ServiceIds::default().assign(names.iter().map(String::as_str)).unwrap();
        let moved = full.assign(["new"]).unwrap();
        assert_eq!(moved.get("new"), full.get("s000"));
        let too_many = names.iter().map(String::as_str).chain(["one-more"]);
        assert!(full.assign(too_many).is_none());
    }
}
