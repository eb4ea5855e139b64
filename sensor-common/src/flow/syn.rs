//! The keys of a SYN signature: 64-bit values by which the kernel knows one.
//!
//! Two SYNs have one key where p0f would print one signature for them, the distance left aside: the
//! TTL counts as the one that it began with, and a window that is a multiple of the segment size or
//! of the MTU counts as that multiple. The generic key leaves the segment size out too, which the
//! way to this host decides as much as the client does. Keys depend on the secret [`Seed`], so that
//! nobody can look for a SYN whose key is somebody else's.

use crate::{
    abi::{SynSignature, syn::QUIRK_ZERO_TIMESTAMP},
    packet::syn::option,
    tls::Seed,
};

/// Segment sizes below this say nothing about the window (p0f: `detect_win_multi`).
pub const LEAST_MSS: u32 = 100;
/// Bytes that timestamps take from every segment: some stacks count the window without them.
const TIMESTAMPS_LEN: u32 = 12;
/// Ethernet's MTU.
pub const MTU: u32 = 1500;
/// Bytes of an IPv4 and a TCP header without options.
const V4_HEADERS: u32 = 40;
/// Bytes of an IPv6 and a TCP header without options.
const V6_HEADERS: u32 = 60;

/// In place of a segment size: any.
const ANY_MSS: u64 = 1 << 16;

/// A window as signatures state it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Window {
    /// As it is.
    Bytes(u16),
    /// So many segments: `mss*44`.
    Segments(u16),
    /// So many MTUs: `mtu*4`.
    Packets(u16),
}

impl Window {
    /// A window that is a multiple of what fits Ethernet, whatever the client's segment size.
    #[inline(always)]
    #[must_use]
    pub const fn of_ethernet(window: u16, is_v6: bool) -> Option<Self> {
        let window = window as u32;
        let mss = MTU - V4_HEADERS;
        let v6_mss = MTU - V6_HEADERS;
        if window == 0 {
            None
        } else if window.is_multiple_of(mss) {
            Some(Self::Segments((window / mss) as u16))
        } else if window.is_multiple_of(mss - TIMESTAMPS_LEN) {
            Some(Self::Segments((window / (mss - TIMESTAMPS_LEN)) as u16))
        } else if is_v6 && window.is_multiple_of(v6_mss) {
            Some(Self::Segments((window / v6_mss) as u16))
        } else if is_v6 && window.is_multiple_of(v6_mss - TIMESTAMPS_LEN) {
            Some(Self::Segments((window / (v6_mss - TIMESTAMPS_LEN)) as u16))
        } else {
            None
        }
    }

    #[inline(always)]
    const fn bits(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes as u64,
            Self::Segments(times) => 1 << 16 | times as u64,
            Self::Packets(times) => 2 << 16 | times as u64,
        }
    }
}

/// The TTL that a packet began with, as far as the usual ones tell.
#[inline(always)]
#[must_use]
pub const fn initial_ttl(ttl: u8) -> u8 {
    match ttl {
        0..=32 => 32,
        33..=64 => 64,
        65..=128 => 128,
        129..=255 => 255,
    }
}

impl SynSignature {
    /// The window, as p0f would state it.
    #[inline(always)]
    #[must_use]
    pub const fn window_form(&self) -> Window {
        let (window, mss) = (self.window as u32, self.mss as u32);
        let is_v6 = self.version == 6;
        if window == 0 || mss < LEAST_MSS {
            return Window::Bytes(self.window);
        }
        if window.is_multiple_of(mss) {
            return Window::Segments((window / mss) as u16);
        }
        let less = mss - TIMESTAMPS_LEN;
        if window.is_multiple_of(less) && self.has_own_timestamp() {
            return Window::Segments((window / less) as u16);
        }
        if let Some(usual) = Window::of_ethernet(self.window, is_v6) {
            return usual;
        }
        let ip = if is_v6 { V6_HEADERS } else { V4_HEADERS + self.ip_options_len as u32 };
        match in_packets(window, mss, ip + self.options_len as u32, is_v6) {
            Some(times) => Window::Packets(times),
            None => Window::Bytes(self.window),
        }
    }

    /// Whether it carries a timestamp of the sender's that is not zero.
    #[inline(always)]
    const fn has_own_timestamp(&self) -> bool {
        let mut found = 0;
        let [a, b, c] = self.layout_words();
        found |= holds_byte(a, option::TIMESTAMPS);
        found |= holds_byte(b, option::TIMESTAMPS);
        found |= holds_byte(c, option::TIMESTAMPS);
        found != 0 && self.quirks & QUIRK_ZERO_TIMESTAMP == 0
    }

    #[inline(always)]
    const fn layout_words(&self) -> [u64; 3] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = self.layout;
        [
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            u64::from_ne_bytes([q, r, s, t, u, v, w, x]),
        ]
    }

    /// The exact key and the generic one.
    #[inline(always)]
    #[must_use]
    pub const fn keys(&self, seed: &Seed) -> [u64; 2] {
        let folded = self.fold(self.window_form(), seed);
        [seed.mix(folded ^ self.mss as u64), seed.mix(folded ^ ANY_MSS)]
    }

    /// The key of a signature of which the window is known as this form only: the generic one where
    /// the segment size may be any.
    #[must_use]
    pub const fn key_of(&self, window: Window, any_mss: bool, seed: &Seed) -> u64 {
        let mss = if any_mss { ANY_MSS } else { self.mss as u64 };
        seed.mix(self.fold(window, seed) ^ mss)
    }

    /// Everything but the segment size.
    #[inline(always)]
    const fn fold(&self, window: Window, seed: &Seed) -> u64 {
        let [a, b, c] = self.layout_words();
        let shape = self.quirks as u64
            | (self.options as u64) << 32
            | (self.padding as u64) << 40
            | (self.scale as u64) << 48
            | (self.ip_options_len as u64) << 56;
        let rest = window.bits()
            | (self.version as u64) << 32
            | (initial_ttl(self.ttl) as u64) << 40
            | (self.has_payload as u64) << 48;
        let folded = seed.mix(seed.mix(seed.mix(a) ^ b) ^ c);
        seed.mix(seed.mix(folded ^ shape) ^ rest)
    }
}

/// How many packets of the client's own size, or of Ethernet's, a window is. `headers` are those of
/// this very SYN, a segment's worth of TCP header among them.
#[inline(always)]
const fn in_packets(window: u32, mss: u32, headers: u32, is_v6: bool) -> Option<u16> {
    let (v4, own, v6) = (mss + V4_HEADERS, mss + headers, mss + V6_HEADERS);
    let size = if window.is_multiple_of(v4) {
        v4
    } else if window.is_multiple_of(own) {
        own
    } else if is_v6 && window.is_multiple_of(v6) {
        v6
    } else if window.is_multiple_of(MTU) {
        MTU
    } else {
        return None;
    };
    // Behind this sum of at least [`LEAST_MSS`] there is no zero to divide by.
    match window.checked_div(size) {
        Some(times) => Some(times as u16),
        None => None,
    }
}

/// Not zero where one of a word's bytes is `byte` (which the lowest such byte decides exactly).
#[inline(always)]
const fn holds_byte(word: u64, byte: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differs = word ^ (ONES * byte as u64);
    differs.wrapping_sub(ONES) & !differs & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed { add: 0x1234_5678_9abc_def0, multiply: 0x0fed_cba9_8765_4321 };

    fn linux(mss: u16, window: u16) -> SynSignature {
        let mut layout = [0; 24];
        layout[..5].copy_from_slice(&[2, 4, 8, 1, 3]);
        SynSignature {
            layout,
            options: 5,
            options_len: 20,
            quirks: 3,
            mss,
            window,
            ttl: 63,
            version: 4,
            scale: 10,
            ..SynSignature::UNKNOWN
        }
    }

    #[test]
    fn windows_are_stated_as_p0f_states_them() {
        for (signature, form) in [
            (linux(1460, 64240), Window::Segments(44)),
            (linux(560, 65520), Window::Segments(117)),
            (linux(1460, 1448 * 10), Window::Segments(10)),
            (linux(1400, 1388 * 7), Window::Segments(7)),
            (linux(1400, 64240), Window::Segments(44)),
            (linux(1400, 1440 * 9), Window::Packets(9)),
            (linux(1300, 1360 * 7), Window::Packets(7)),
            (linux(1300, 4500), Window::Packets(3)),
            (linux(1460, 8192), Window::Bytes(8192)),
            (linux(99, 990), Window::Bytes(990)),
            (linux(1460, 0), Window::Bytes(0)),
            (SynSignature { version: 6, ..linux(1400, 1440 * 9) }, Window::Segments(9)),
            (SynSignature { version: 6, ..linux(1300, 1380 * 7) }, Window::Packets(7)),
        ] {
            assert_eq!(signature.window_form(), form, "{} of {}", signature.window, signature.mss);
        }
        let zero_timestamp = SynSignature { quirks: QUIRK_ZERO_TIMESTAMP, ..linux(1400, 1388 * 7) };
        assert_eq!(zero_timestamp.window_form(), Window::Bytes(1388 * 7));
        let without = SynSignature { layout: [1; 24], ..linux(1400, 1388 * 7) };
        assert_eq!(without.window_form(), Window::Bytes(1388 * 7));
    }

    #[test]
    fn what_p0f_prints_alike_has_one_key_and_nothing_else_has() {
        let keys = |signature: SynSignature| signature.keys(&SEED);
        let usual = linux(1460, 64240);
        assert_eq!(keys(usual), keys(SynSignature { ttl: 40, ..usual }), "distance");
        let [exact, generic] = keys(usual);
        assert_ne!(exact, generic);
        let [other_exact, same_generic] = keys(linux(560, 560 * 44));
        assert_ne!(exact, other_exact);
        assert_eq!(generic, same_generic);
        let mut seen = vec![exact, generic];
        for other in [
            SynSignature { ttl: 65, ..usual },
            SynSignature { ttl: 32, ..usual },
            SynSignature { version: 6, ..usual },
            SynSignature { window: 1460 * 40, ..usual },
            SynSignature { scale: 7, ..usual },
            SynSignature { quirks: 1, ..usual },
            SynSignature { padding: 1, ..usual },
            SynSignature { options: 6, ..usual },
            SynSignature { has_payload: 1, ..usual },
            SynSignature { ip_options_len: 4, ..usual },
            SynSignature { layout: [1; 24], ..usual },
        ] {
            let keys = keys(other);
            assert!(!keys.iter().any(|key| seen.contains(key)), "{other:?}");
            seen.extend(keys);
        }
        assert_ne!(usual.keys(&Seed { add: 1, ..SEED }), usual.keys(&SEED), "the seed counts");
    }

    #[test]
    fn a_key_from_a_form_is_the_key_of_the_signature() {
        let usual = linux(1400, 64240);
        let [exact, generic] = usual.keys(&SEED);
        assert_eq!(usual.key_of(Window::Segments(44), false, &SEED), exact);
        assert_eq!(linux(9, 9).key_of(Window::Segments(44), true, &SEED), generic);
    }
}
