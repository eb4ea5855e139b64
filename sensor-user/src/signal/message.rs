//! What an application says: one JSON object a line.
//!
//! ```json
//! {"signal": "login_failed", "address": "203.0.113.7", "port": 51234, "account": "ada", "service": "web"}
//! ```
//!
//! | field | what |
//! | --- | --- |
//! | `signal` | a declared signal |
//! | `address` | the client; with `forwarded`, where the connection came from |
//! | `port` | the client's port, by which its connection is found |
//! | `peer` | where the connection came from, if a proxy named `address` |
//! | `forwarded` | the header `X-Forwarded-For` or `Forwarded`, as it came |
//! | `service` | a service; without it, the connection says which |
//! | `account` | account, token or subject of a certificate; only its pseudonym is kept |
//! | `endpoint` | the target of the request |
//! | `time` | when, RFC 3339; without it, now |
//!
//! A message with any other field is refused, because it may mean something else than it says here.
//!
//! What a server sends as if to syslog (`access_log syslog:server=unix:…` of nginx) has a header before
//! the object: it begins with `<` and has no brace.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};

use super::{Heard, client, endpoint, entry::Hearing, refusal::Refusal, stamp, stamp::Now};

/// A message as sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Message<'a> {
    signal: Option<Cow<'a, str>>,
    address: Option<Cow<'a, str>>,
    port: Option<u16>,
    peer: Option<Cow<'a, str>>,
    forwarded: Option<Cow<'a, str>>,
    service: Option<Cow<'a, str>>,
    account: Option<Cow<'a, str>>,
    endpoint: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    has_unknown_field: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Signal,
    Address,
    Port,
    Peer,
    Forwarded,
    Service,
    Account,
    Endpoint,
    Time,
    #[serde(other)]
    Unknown,
}

/// A text that is borrowed where it has no escapes; `null` and an empty one say nothing.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut message = Message::default();
        while let Some(field) = map.next_key::<Field>()? {
            let slot = match field {
                Field::Signal => &mut message.signal,
                Field::Address => &mut message.address,
                Field::Peer => &mut message.peer,
                Field::Forwarded => &mut message.forwarded,
                Field::Service => &mut message.service,
                Field::Account => &mut message.account,
                Field::Endpoint => &mut message.endpoint,
                Field::Time => &mut message.time,
                Field::Port => {
                    message.port = map.next_value()?;
                    continue;
                }
                Field::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    message.has_unknown_field = true;
                    continue;
                }
            };
            if slot.is_some() {
                return Err(de::Error::custom("a field is given twice"));
            }
            *slot = map.next_value::<Text<'de>>()?.0.filter(|text| !text.is_empty());
        }
        Ok(message)
    }
}

impl Hearing {
    /// The signal in a message.
    ///
    /// # Errors
    /// Why it is passed over.
    pub fn message(&self, line: &[u8], now: &Now) -> Result<Heard, Refusal> {
        let message: Message<'_> =
            serde_json::from_slice(without_header(line)).map_err(|_| Refusal::NotUnderstood)?;
        if message.has_unknown_field {
            return Err(Refusal::UnknownField);
        }
        let name = message.signal.as_deref().ok_or(Refusal::Incomplete)?;
        let declared = self.policy.signals.list().iter().find(|signal| *signal.name == *name);
        let name = Arc::clone(&declared.ok_or(Refusal::Undeclared)?.name);
        let (client, is_peer) = self.client_of(&message)?;
        if !client::can_be_client(client) {
            return Err(Refusal::BadAddress);
        }
        let service = message.service.as_deref().map_or(Ok(0), |name| self.service(name))?;
        let stamp = match message.time.as_deref() {
            Some(text) => Some(stamp::rfc3339(text).ok_or(Refusal::BadTime)?),
            None => None,
        };
        let endpoint = message.endpoint.as_deref().map_or(0, |target| {
            let lines = declared.and_then(|signal| signal.line.as_ref());
            let query = lines.map_or(&[][..], |line| &line.query);
            self.pseudonyms.endpoint(&endpoint::name(target, &endpoint::path(target), query))
        });
        Ok(Heard {
            name,
            at_ns: now.place(stamp)?,
            client,
            port: if is_peer { message.port.unwrap_or_default() } else { 0 },
            service,
            entity: message.account.as_deref().map_or(0, |text| self.pseudonyms.entity(text)),
            endpoint,
        })
    }

    /// The client, and whether its connection comes from there.
    fn client_of(&self, message: &Message<'_>) -> Result<(std::net::IpAddr, bool), Refusal> {
        let read = |text: &str| client::address(text.trim()).ok_or(Refusal::BadAddress);
        let address = message.address.as_deref().map(read).transpose()?;
        let (peer, header) = match (&message.peer, address) {
            (Some(peer), Some(address)) => {
                // Whom the application took from somewhere counts as if a header had said it.
                let said = message.forwarded.as_deref().map(ToOwned::to_owned);
                (read(peer)?, Some(said.unwrap_or_else(|| address.to_string())))
            }
            (Some(peer), None) => (read(peer)?, message.forwarded.as_deref().map(Into::into)),
            (None, Some(address)) => (address, message.forwarded.as_deref().map(Into::into)),
            (None, None) => return Err(Refusal::Incomplete),
        };
        let client = client::resolve(peer, header.as_deref(), &self.policy.proxies);
        client.map(|client| (client, client == peer)).ok_or(Refusal::NoClient)
    }

    fn service(&self, name: &str) -> Result<u8, Refusal> {
        let found = self.policy.services.iter().find(|service| service.name == name);
        found.map(|service| service.id).ok_or(Refusal::UnknownService)
    }
}

/// The object behind a header of syslog (RFC 3164), if there is one.
fn without_header(line: &[u8]) -> &[u8] {
    let object = line.iter().position(|byte| *byte == b'{').filter(|_| line.starts_with(b"<"));
    object.and_then(|at| line.get(at..)).unwrap_or(line)
}

#[cfg(test)]
mod tests;
