//! Pseudonyms of addresses: a keyed hash, whose keys lie in a file apart.
//!
//! Without the keys nobody can tell whose a pseudonym is, nor try addresses. With them, Weir can find the
//! records about an address that it is given. A key is replaced from time to time; pseudonyms of
//! different keys cannot be joined, and once an old key is deleted, its pseudonyms are nobody's.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use ipnet::{IpNet, Ipv6Net};
use ring::hmac;

use super::{
    chain::{from_hex, hex},
    secret::{self, KeyError},
};

/// Keys that are kept at most: more than a year of daily ones.
const MOST: usize = 1024;

/// One key.
struct Key {
    /// Names it in records: no key has it again.
    id: u32,
    /// Since when it is used, seconds since 1970.
    since_unix_s: u64,
    bytes: [u8; 32],
}

/// The keys, oldest first. The last is the one that is used.
pub struct PseudonymKeys {
    path: PathBuf,
    keys: Vec<Key>,
}

impl fmt::Debug for PseudonymKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKeys({})", self.keys.len())
    }
}

impl PseudonymKeys {
    /// Reads the keys, or makes the first.
    ///
    /// # Errors
    /// If there are none and none can be made, or if the file keeps no secret.
    pub fn open(path: &Path, now_unix_s: u64) -> Result<Self, KeyError> {
        let mut keys = Self::read(path)?;
        if keys.keys.is_empty() {
            keys.rotate(now_unix_s)?;
        }
        Ok(keys)
    }

    /// Reads the keys; none if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, keeps no secret, or is not one of ours.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = secret::read(path)?.unwrap_or_default();
        let keys: Option<Vec<Key>> = text.lines().map(read_key).collect();
        let keys = keys.ok_or_else(|| KeyError::Malformed { path: path.into() })?;
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a.id >= b.id)) {
            return Err(KeyError::Malformed { path: path.into() });
        }
        Ok(Self { path: path.into(), keys })
    }

    /// Uses a new key from now on; its id.
    ///
    /// # Errors
    /// If it cannot be kept; the one before stays in use.
    pub fn rotate(&mut self, now_unix_s: u64) -> Result<u32, KeyError> {
        let id = self.keys.last().map_or(1, |key| key.id.saturating_add(1));
        self.keys.push(Key { id, since_unix_s: now_unix_s, bytes: secret::random()? });
        if let Err(error) = self.write() {
            self.keys.pop();
            return Err(error);
        }
        Ok(id)
    }

    /// Deletes keys that were replaced so long ago; their ids.
    ///
    /// # Errors
    /// If the file cannot be written; then they are all kept.
    pub fn prune(&mut self, now_unix_s: u64, keep_s: u64) -> Result<Vec<u32>, KeyError> {
        let is_over = |pair: &[Key]| matches!(pair, [_, next] if next.since_unix_s.saturating_add(keep_s) <= now_unix_s);
        let over = self.keys.windows(2).take_while(|pair| is_over(pair)).count();
        let over = over.max(self.keys.len().saturating_sub(MOST));
        if over == 0 {
            return Ok(Vec::new());
        }
        let gone: Vec<Key> = self.keys.drain(..over).collect();
        if let Err(error) = self.write() {
            self.keys.splice(0..0, gone);
            return Err(error);
        }
        Ok(gone.iter().map(|key| key.id).collect())
    }

    /// Whether the key in use is as old as that.
    #[must_use]
    pub fn is_older_than(&self, now_unix_s: u64, age_s: u64) -> bool {
        self.keys.last().is_some_and(|key| key.since_unix_s.saturating_add(age_s) <= now_unix_s)
    }

    /// Ids of the keys that are kept, oldest first.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.keys.iter().map(|key| key.id).collect()
    }

    /// The pseudonym of a network under the key in use.
    pub(super) fn pseudonym(&self, net: &IpNet) -> Option<String> {
        self.keys.last().map(|key| pseudonym(key, net))
    }

    /// What a network can be called in records, under every key that is kept.
    pub(super) fn all_of<'a>(&'a self, net: &'a IpNet) -> impl Iterator<Item = String> + 'a {
        self.keys.iter().map(|key| pseudonym(key, net))
    }

    fn write(&self) -> Result<(), KeyError> {
        let line = |key: &Key| format!("{} {} {}\n", key.id, key.since_unix_s, hex(&key.bytes));
        let text: String = self.keys.iter().map(line).collect();
        secret::write(&self.path, &text)
    }
}

fn read_key(line: &str) -> Option<Key> {
    let mut words = line.split(' ');
    let key = Key {
        id: words.next()?.parse().ok()?,
        since_unix_s: words.next()?.parse().ok()?,
        bytes: from_hex(words.next()?)?,
    };
    words.next().is_none().then_some(key)
}

/// `k3-` and 128 bits: no two of a billion addresses share one.
fn pseudonym(key: &Key, net: &IpNet) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key.bytes));
    match net.trunc() {
        IpNet::V4(net) => {
            context.update(&[4, net.prefix_len()]);
            context.update(&net.network().octets());
        }
        IpNet::V6(net) => {
            context.update(&[6, net.prefix_len()]);
            context.update(&net.network().octets());
        }
    }
    let tag = context.sign();
    format!("k{}-{}", key.id, hex(tag.as_ref().get(..16).unwrap_or_default()))
}

/// The /64 that an IPv6 address is judged by, if the network is within one.
pub(super) fn judged_as(net: &IpNet) -> Option<IpNet> {
    match net {
        IpNet::V6(net) if net.prefix_len() > 64 => {
            Ipv6Net::new(net.network(), 64).ok().map(|net| IpNet::V6(net.trunc()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(name: &str) -> PathBuf {
        std::env::temp_dir()
            .join(format!("weir-pseudonym-{name}-{}", std::process::id()))
            .join("pseudonyms.key")
    }

    #[test]
    fn keys_are_made_rotated_and_deleted_when_they_were_replaced_long_ago() {
        let path = place("life");
        let net: IpNet = "192.0.2.7/32".parse().unwrap();
        let mut keys = PseudonymKeys::open(&path, 1_000).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let first = keys.pseudonym(&net).unwrap();
        assert!(first.starts_with("k1-") && first.len() == 35, "{first}");
        assert_eq!(PseudonymKeys::open(&path, 9_000).unwrap().pseudonym(&net), Some(first.clone()));
        assert!(!keys.is_older_than(1_099, 100) && keys.is_older_than(1_100, 100));
        assert_eq!(keys.rotate(2_000).unwrap(), 2);
        let second = keys.pseudonym(&net).unwrap();
        assert_ne!(first.get(3..), second.get(3..));
        assert_eq!(keys.all_of(&net).collect::<Vec<_>>(), [first.clone(), second.clone()]);
        assert_eq!(keys.prune(2_499, 500).unwrap(), [0_u32; 0]);
        assert_eq!(keys.prune(2_500, 500).unwrap(), [1]);
        let mut kept = PseudonymKeys::open(&path, 9_000).unwrap();
        assert_eq!(kept.all_of(&net).collect::<Vec<_>>(), [second]);
        assert_eq!(kept.prune(u64::MAX, 0).unwrap(), [0_u32; 0], "the one in use stays");
        assert_eq!(kept.rotate(3_000).unwrap(), 3, "ids are not used twice");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_file_that_keeps_no_secret_or_is_not_ours_is_refused() {
        let path = place("refused");
        PseudonymKeys::open(&path, 1).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = PseudonymKeys::open(&path, 1).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: 0o640, .. }), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        for wrong in ["x\n".to_owned(), format!("{good}{good}"), good.replace(' ', "  ")] {
            std::fs::write(&path, &wrong).unwrap();
            let error = PseudonymKeys::open(&path, 1).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{wrong}: {error}");
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_pseudonym_says_nothing_and_tells_networks_of_one_address_apart() {
        let path = place("apart");
        let keys = PseudonymKeys::open(&path, 1).unwrap();
        let of = |net: &str| keys.pseudonym(&net.parse().unwrap()).unwrap();
        assert_ne!(of("192.0.2.0/32"), of("192.0.2.0/24"));
        assert_eq!(of("192.0.2.7/24"), of("192.0.2.0/24"));
        assert_ne!(of("0.0.0.0/0"), of("::/0"));
        assert_eq!(format!("{keys:?}"), "PseudonymKeys(1)");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
