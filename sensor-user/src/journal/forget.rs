//! Erasure: everything that is kept about an address is found by whatever it is called in records, and
//! taken out. The records stay, and the chain with them; a record without the address says which.

use std::collections::HashSet;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    append::{Appended, Entry, Sign, append},
    conceal::{form_name, mask, truncated},
    deletions::forgotten,
    privacy::AddressForm,
    pseudonym::{PseudonymKeys, judged_as},
    record::{Actor, Kind},
    retain::{delete_personal, wipe},
    signature::SigningKey,
};

/// Personal parts that one step takes out at most.
pub const STEP: usize = 2_000;
/// Bits of a prefix whose addresses are gone through one by one: 65,536 of them.
const MOST_BITS: u8 = 16;

/// What records about exactly this network call it: it, its pseudonyms, the network that is left when
/// it is truncated.
#[must_use]
pub fn names_of(net: &IpNet, keys: &PseudonymKeys) -> Vec<String> {
    let net = net.trunc();
    let mut names: Vec<String> = vec![net.to_string(), truncated(&net).to_string()];
    for net in [Some(net), judged_as(&net)].into_iter().flatten() {
        names.push(net.to_string());
        names.extend(keys.all_of(&net));
    }
    names.dedup();
    names
}

/// Whom to forget, under all names.
pub struct Forgotten {
    nets: Vec<IpNet>,
    pseudonyms: HashSet<String>,
}

/// Too many addresses to look for.
#[derive(Debug, thiserror::Error)]
#[error(
    "{net} is too large to look for under pseudonyms: give prefixes of at most 65,536 addresses (/16 \
     of IPv4, /48 of IPv6)"
)]
pub struct TooLarge {
    net: IpNet,
}

/// A prefix as it is judged: IPv6 by /64.
#[must_use]
pub fn widened(net: &IpNet) -> IpNet {
    judged_as(net).unwrap_or(*net).trunc()
}

impl Forgotten {
    /// These, and what they are called under the keys that are kept.
    ///
    /// # Errors
    /// If there are keys, and a prefix has too many addresses to go through.
    pub fn new(nets: &[IpNet], keys: &PseudonymKeys) -> Result<Self, TooLarge> {
        let nets: Vec<IpNet> = nets.iter().map(widened).collect();
        let mut pseudonyms = HashSet::new();
        if !keys.ids().is_empty() {
            for net in &nets {
                let longest = if matches!(net, IpNet::V4(_)) { 32 } else { 64 };
                if longest - net.prefix_len().min(longest) > MOST_BITS {
                    return Err(TooLarge { net: *net });
                }
                for length in net.prefix_len()..=longest {
                    for within in subnets(net, length) {
                        pseudonyms.extend(keys.all_of(&within));
                    }
                }
            }
        }
        Ok(Self { nets, pseudonyms })
    }

    /// The prefixes, as they are judged.
    #[must_use]
    pub fn nets(&self) -> &[IpNet] {
        &self.nets
    }

    /// Whether one of them is, or lies in, what is to be forgotten.
    #[must_use]
    pub fn covers(&self, net: &IpNet) -> bool {
        self.nets.iter().any(|whom| whom.contains(net))
    }

    /// Whether a personal part names any of them.
    fn is_named(&self, form: &str, content: &str) -> bool {
        if form == form_name(AddressForm::Pseudonymise) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
            return content.split(|c| !is_name(c)).any(|word| self.pseudonyms.contains(word));
        }
        let mut covered = |net: &IpNet| self.covers(net).then(String::new);
        mask(content, &mut covered).is_some()
    }
}

fn subnets(net: &IpNet, length: u8) -> Box<dyn Iterator<Item = IpNet>> {
    match net {
        IpNet::V4(v4) => {
            Box::new(Ipv4Subnets::new(v4.network(), v4.broadcast(), length).map(IpNet::V4))
        }
        IpNet::V6(v6) => {
            Box::new(Ipv6Subnets::new(v6.network(), v6.broadcast(), length).map(IpNet::V6))
        }
    }
}

/// The records that name any of them, in their order: the whole of the personal parts is read.
///
/// # Errors
/// What SQLite says.
pub fn find(connection: &Connection, whom: &Forgotten) -> rusqlite::Result<Vec<i64>> {
    let mut statement =
        connection.prepare("SELECT seq, form, content FROM journal_personal ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |index| -> rusqlite::Result<String> {
            let bytes = row.get_ref(index)?.as_bytes().unwrap_or_default();
            Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        if whom.is_named(&text(1)?, &text(2)?) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// Takes out the personal parts of some records, in one transaction with the record that says so.
/// `more` is what else that record tells (how many labels, for example).
///
/// # Errors
/// What SQLite says; then the caller's transaction must not be committed.
pub fn erase(
    connection: &Connection,
    seqs: &[i64],
    more: &Value,
    actor: &Actor,
    key: Option<&SigningKey>,
    now_unix_ns: i64,
) -> rusqlite::Result<Appended> {
    wipe(connection)?;
    let count = delete_personal(connection, seqs)?;
    let mut body = json!({"count": count});
    if let Some(body) = body.as_object_mut() {
        let (name, ranges) = forgotten(seqs);
        body.insert(name.into(), ranges);
        body.extend(more.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }
    let entry = Entry {
        unix_ns: now_unix_ns,
        kind: Kind::Forget,
        actor: serde_json::to_string(actor).unwrap_or_default(),
        body: body.to_string(),
        personal: None,
    };
    append(connection, &[entry], key, Sign::Now, now_unix_ns)
}
