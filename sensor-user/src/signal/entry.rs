//! What a line of an access log says, whatever its format, and the signals in it.

use std::{net::IpAddr, sync::Arc};

use super::{
    Heard, client, combined, endpoint,
    entity::Pseudonyms,
    haproxy,
    json::{self, Mapping},
    refusal::Refusal,
    stamp::{Now, Stamp},
};
use crate::policy::{
    CompiledPolicy,
    signals::{ClientFrom, LogFormat, LogSpec},
};

/// A line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// Where the connection came from; `None`: no address stands there.
    pub address: Option<IpAddr>,
    /// The client's port; 0 = unknown.
    pub port: u16,
    /// The method.
    pub method: Option<String>,
    /// The target of the request, as sent.
    pub target: Option<String>,
    /// The status; 0 = none was sent.
    pub status: u16,
    /// Account, token or subject of a client certificate.
    pub account: Option<String>,
    /// `X-Forwarded-For` or `Forwarded`.
    pub forwarded: Option<String>,
    /// When the request ended.
    pub stamp: Option<Stamp>,
}

impl Entry {
    /// Takes a request line apart: `GET /login HTTP/1.1`. What is none (the bytes of a TLS hello sent to
    /// a plain port, say) leaves method and target unknown.
    pub(super) fn request(&mut self, line: &str) {
        let Some((method, rest)) = line.split_once(' ') else { return };
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return;
        }
        // A target may have spaces in it where a server took them.
        let target = match rest.rsplit_once(' ') {
            Some((target, version)) if version.starts_with("HTTP/") => target,
            _ => rest,
        };
        self.method = Some(method.to_owned());
        self.target = Some(target.to_owned());
    }
}

/// What a value in a log says, where `-` stands for nothing.
pub(super) fn said(text: &str) -> Option<&str> {
    (!text.is_empty() && text != "-").then_some(text)
}

/// Makes signals of lines and messages: the policy in force, and the key of pseudonyms.
#[derive(Clone, Debug)]
pub struct Hearing {
    /// Signals, logs, services and proxies.
    pub policy: Arc<CompiledPolicy>,
    /// For accounts and endpoints.
    pub pseudonyms: Arc<Pseudonyms>,
    mappings: Arc<[Mapping]>,
}

impl Hearing {
    /// For this policy.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>, pseudonyms: Arc<Pseudonyms>) -> Self {
        let mappings = policy.signals.logs().iter().map(|log| Mapping::new(&log.fields)).collect();
        Self { policy, pseudonyms, mappings }
    }

    /// Every signal in a line of a log (its index), appended to `heard`.
    ///
    /// # Errors
    /// Why nothing can be made of the line. One that says no signal is no error, whatever else is wrong
    /// with it.
    pub fn line(
        &self,
        log: usize,
        line: &[u8],
        now: &Now,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Refusal> {
        let Some(spec) = self.policy.signals.logs().get(log) else { return Ok(()) };
        let text = String::from_utf8_lossy(line);
        let entry = match spec.format {
            LogFormat::Combined => combined::read(&text),
            LogFormat::Haproxy => haproxy::read(&text),
            LogFormat::Json => json::read(&text, self.mappings.get(log)),
        };
        self.entry(log, spec, &entry.ok_or(Refusal::NotUnderstood)?, now, heard)
    }

    fn entry(
        &self,
        log: usize,
        spec: &LogSpec,
        entry: &Entry,
        now: &Now,
        heard: &mut Vec<Heard>,
    ) -> Result<(), Refusal> {
        let path = entry.target.as_deref().map(endpoint::path);
        let mut common: Option<Heard> = None;
        for signal in self.policy.signals.list() {
            let Some(pattern) = &signal.line else { continue };
            if !pattern.fits(log, entry.method.as_deref(), path.as_deref(), entry.status) {
                continue;
            }
            let first = match &common {
                Some(common) => common.clone(),
                // Most lines say nothing: only now is it worth while to find out more.
                None => common.insert(self.about(spec, entry, now)?).clone(),
            };
            let endpoint =
                entry.target.as_deref().zip(path.as_deref()).map_or(0, |(target, path)| {
                    self.pseudonyms.endpoint(&endpoint::name(target, path, &pattern.query))
                });
            heard.push(Heard { name: Arc::clone(&signal.name), endpoint, ..first });
        }
        Ok(())
    }

    /// What all signals of a line have in common.
    fn about(&self, spec: &LogSpec, entry: &Entry, now: &Now) -> Result<Heard, Refusal> {
        let peer = entry.address.ok_or(Refusal::BadAddress)?;
        let header = match spec.client {
            ClientFrom::Peer => None,
            ClientFrom::Forwarded => entry.forwarded.as_deref(),
        };
        let client =
            client::resolve(peer, header, &self.policy.proxies).ok_or(Refusal::NoClient)?;
        if !client::can_be_client(client) {
            return Err(Refusal::BadAddress);
        }
        Ok(Heard {
            name: Arc::from(""),
            at_ns: now.place(entry.stamp)?,
            client,
            // A port is the peer's.
            port: if client == peer { entry.port } else { 0 },
            service: spec.service,
            entity: entry.account.as_deref().map_or(0, |account| self.pseudonyms.entity(account)),
            endpoint: 0,
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
