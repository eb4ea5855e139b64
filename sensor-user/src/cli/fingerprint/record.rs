//! One ClientHello as it is printed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use weir_common::tls::{Malformed, keys::Transport};

use crate::{
    capture::Hello,
    fingerprint::{hello::ClientHello, ja3::Ja3, ja4::Ja4Raw},
};

/// A line of JSON. Fields are only ever added.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    /// The capture, or the interface.
    pub(super) file: &'a str,
    /// When the hello was complete: RFC 3339, UTC, nanoseconds.
    pub(super) time: String,
    pub(super) transport: &'static str,
    /// Address and port of the client.
    pub(super) src: String,
    /// Address and port of the server.
    pub(super) dst: String,
    /// `null`: no server name.
    pub(super) sni: Option<String>,
    /// The first protocol; `null`: none.
    pub(super) alpn: Option<String>,
    /// The highest that the client offers.
    pub(super) version: String,
    pub(super) ja3: String,
    pub(super) ja3_string: String,
    pub(super) ja4: String,
    pub(super) ja4_r: String,
    pub(super) stable: String,
    /// TCP segments, QUIC Initials or DTLS datagrams that carried it.
    pub(super) segments: u32,
    /// Two copies of a byte differed: the server may have seen another hello.
    #[serde(skip_serializing_if = "is_false")]
    pub(super) conflict: bool,
}

impl<'a> Record<'a> {
    /// Of a hello.
    pub(super) fn of(file: &'a str, hello: &Hello) -> Result<Self, Malformed> {
        let facts = ClientHello::read(&hello.message)?;
        let ja3 = Ja3::of(&facts);
        let raw = Ja4Raw::of(&facts, hello.transport);
        Ok(Self {
            file,
            time: humantime::format_rfc3339_nanos(time(hello.time_ns)).to_string(),
            transport: match hello.transport {
                Transport::Tcp => "tcp",
                Transport::Quic => "quic",
                Transport::Dtls => "dtls",
            },
            src: hello.source.to_string(),
            dst: hello.destination.to_string(),
            sni: facts.server_name_text().map(Into::into),
            alpn: facts.alpn_text().map(Into::into),
            version: facts.version_name().into(),
            ja3: ja3.digest,
            ja3_string: ja3.string,
            ja4: raw.ja4().to_string(),
            ja4_r: raw.to_string(),
            stable: raw.stable().to_string(),
            segments: hello.segments,
            conflict: hello.conflict,
        })
    }
}

fn time(time_ns: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(time_ns)).unwrap_or(UNIX_EPOCH)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
