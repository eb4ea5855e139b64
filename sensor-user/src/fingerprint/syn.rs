//! SYN signatures as p0f 3 writes them: `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`.
//!
//! [`RawSyn`] shows one SYN's signature to the letter of p0f's `raw_sig`, the TTL with its distance.
//! [`SynPattern`] is what SYNs are known by: the TTL that they began with, the window as a multiple
//! where it is one, and any segment size where it says `*`. Its text reads back to itself.
//!
//! One difference: p0f 3.09b shows `ack+` only where one certain bit of the acknowledgement number
//! is set; here it means what p0f documents, any number but zero.

mod parse;

use std::fmt;

use weir_common::{
    abi::{
        SynSignature,
        syn::{
            QUIRK_ACK_NUMBER, QUIRK_BAD_OPTIONS, QUIRK_DF, QUIRK_ECN, QUIRK_EXCESSIVE_SCALE,
            QUIRK_FLOW_LABEL, QUIRK_ID_WITH_DF, QUIRK_NO_ID, QUIRK_PEER_TIMESTAMP, QUIRK_PSH,
            QUIRK_RESERVED, QUIRK_TRAILING, QUIRK_URG, QUIRK_URGENT_POINTER, QUIRK_ZERO_ACK,
            QUIRK_ZERO_SEQ, QUIRK_ZERO_TIMESTAMP,
        },
    },
    flow::syn::{Window, initial_ttl},
    packet::syn::option,
    tls::Seed,
};

pub use parse::SynError;

/// Hops beyond which p0f doubts that the TTL began where it seems to (`MAX_DIST`).
const MAX_DISTANCE: u8 = 35;

/// Options that have names; others are `?` and their kind.
const OPTIONS: [(&str, u8); 6] = [
    ("nop", option::NOP),
    ("mss", option::MSS),
    ("ws", option::WINDOW_SCALE),
    ("sok", option::SACK_PERMITTED),
    ("sack", option::SACK),
    ("ts", option::TIMESTAMPS),
];

/// The end of the options, of which the padding behind it is told too.
const END: &str = "eol+";

/// Quirks in the order in which p0f writes them.
const QUIRKS: [(&str, u32); 17] = [
    ("df", QUIRK_DF),
    ("id+", QUIRK_ID_WITH_DF),
    ("id-", QUIRK_NO_ID),
    ("ecn", QUIRK_ECN),
    ("0+", QUIRK_RESERVED),
    ("flow", QUIRK_FLOW_LABEL),
    ("seq-", QUIRK_ZERO_SEQ),
    ("ack+", QUIRK_ACK_NUMBER),
    ("ack-", QUIRK_ZERO_ACK),
    ("uptr+", QUIRK_URGENT_POINTER),
    ("urgf+", QUIRK_URG),
    ("pushf+", QUIRK_PSH),
    ("ts1-", QUIRK_ZERO_TIMESTAMP),
    ("ts2+", QUIRK_PEER_TIMESTAMP),
    ("opt+", QUIRK_TRAILING),
    ("exws", QUIRK_EXCESSIVE_SCALE),
    ("bad", QUIRK_BAD_OPTIONS),
];

/// One SYN's signature as p0f prints its `raw_sig`.
#[derive(Clone, Copy, Debug)]
pub struct RawSyn<'a>(pub &'a SynSignature);

impl fmt::Display for RawSyn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = self.0;
        let distance = initial_ttl(signature.ttl) - signature.ttl;
        write!(f, "{}:{}+", signature.version, signature.ttl)?;
        if distance > MAX_DISTANCE {
            f.write_str("?")?;
        } else {
            write!(f, "{distance}")?;
        }
        write!(f, ":{}:{}:", signature.ip_options_len, signature.mss)?;
        write_rest(f, signature, signature.window_form())
    }
}

/// What SYNs are known by. Two of them are equal exactly where their texts are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SynPattern {
    // What the key does not depend on is zero: the window, which is in `window`, the length of the
    // options, and the segment size if it may be any.
    signature: SynSignature,
    window: Window,
    any_mss: bool,
}

impl SynPattern {
    /// What a SYN is known by exactly.
    #[must_use]
    pub const fn exact(signature: &SynSignature) -> Self {
        let window = signature.window_form();
        let ttl = initial_ttl(signature.ttl);
        Self {
            signature: SynSignature { ttl, window: 0, options_len: 0, ..*signature },
            window,
            any_mss: false,
        }
    }

    /// What it is known by whatever its segment size, which the way to this host decides as much as
    /// the client does.
    #[must_use]
    pub const fn generic(signature: &SynSignature) -> Self {
        let mut pattern = Self::exact(signature);
        pattern.signature.mss = 0;
        pattern.any_mss = true;
        pattern
    }

    /// The key in `SYN_VERDICTS`.
    #[must_use]
    pub const fn key(&self, seed: &Seed) -> u64 {
        self.signature.key_of(self.window, self.any_mss, seed)
    }
}

impl fmt::Display for SynPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = &self.signature;
        write!(f, "{}:{}:{}:", signature.version, signature.ttl, signature.ip_options_len)?;
        if self.any_mss {
            f.write_str("*:")?;
        } else {
            write!(f, "{}:", signature.mss)?;
        }
        write_rest(f, signature, self.window)
    }
}

/// From the window on.
fn write_rest(f: &mut fmt::Formatter<'_>, signature: &SynSignature, window: Window) -> fmt::Result {
    match window {
        Window::Bytes(bytes) => write!(f, "{bytes}")?,
        Window::Segments(times) => write!(f, "mss*{times}")?,
        Window::Packets(times) => write!(f, "mtu*{times}")?,
    }
    write!(f, ",{}:", signature.scale)?;
    for (index, kind) in layout(signature).iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write_option(f, *kind, signature.padding)?;
    }
    f.write_str(":")?;
    let names = QUIRKS.iter().filter(|(_, bit)| signature.quirks & bit != 0);
    for (index, (name, _)) in names.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        f.write_str(name)?;
    }
    f.write_str(if signature.has_payload == 0 { ":0" } else { ":+" })
}

fn write_option(f: &mut fmt::Formatter<'_>, kind: u8, padding: u8) -> fmt::Result {
    if kind == option::END {
        return write!(f, "{END}{padding}");
    }
    match OPTIONS.iter().find(|(_, named)| *named == kind) {
        Some((name, _)) => f.write_str(name),
        None => write!(f, "?{kind}"),
    }
}

fn layout(signature: &SynSignature) -> &[u8] {
    signature.layout.get(..usize::from(signature.options)).unwrap_or(&signature.layout)
}

#[cfg(test)]
mod tests;
