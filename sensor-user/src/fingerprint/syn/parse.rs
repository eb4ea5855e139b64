//! Reads SYN signatures, and refuses what no SYN can look like.

use std::str::FromStr;

use weir_common::{
    abi::{
        SynSignature,
        syn::{
            QUIRK_BAD_OPTIONS, QUIRK_DF, QUIRK_FLOW_LABEL, QUIRK_ID_WITH_DF, QUIRK_NO_ID,
            QUIRK_RESERVED,
        },
    },
    flow::syn::{LEAST_MSS, MTU, Window, initial_ttl},
    packet::syn::{MAX_OPTIONS_LEN, option},
};

use super::{END, OPTIONS, QUIRKS, SynPattern, layout};

/// Most segments or packets that a window of 16 bits can be.
const MOST_TIMES: u16 = u16::MAX / LEAST_MSS as u16;
/// Most bytes of options in an IPv4 header.
const MAX_V4_OPTIONS: u8 = 40;

/// Why a text is no SYN signature.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SynError {
    /// It is not divided as signatures are.
    #[error(
        "a SYN signature has eight fields, `ver:ittl:olen:mss:wsize,scale:olayout:quirks:pclass`, as \
         in `4:64:0:*:mss*44,10:mss,sok,ts,nop,ws:df,id+:0`; this one has {0}"
    )]
    Fields(usize),
    /// A field holds something else than it should.
    #[error("`{value}` is no {field}: {wanted}")]
    Field {
        /// The field's name, as people call it.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        wanted: &'static str,
    },
    /// No SYN looks like this.
    #[error("no SYN looks like this: {0}")]
    Contradiction(&'static str),
}

fn field(field: &'static str, value: &str, wanted: &'static str) -> SynError {
    SynError::Field { field, value: value.to_owned(), wanted }
}

/// A decimal number: digits and nothing else.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

impl FromStr for SynPattern {
    type Err = SynError;

    fn from_str(text: &str) -> Result<Self, SynError> {
        let fields: Vec<&str> = text.split(':').collect();
        let [version, ttl, olen, mss, sizes, layout, quirks, pclass] = fields.as_slice() else {
            return Err(SynError::Fields(fields.len()));
        };
        let Some((window, scale)) = sizes.split_once(',') else {
            return Err(field("window and scale", sizes, "`wsize,scale`, as in `mss*44,10`"));
        };
        let mut signature = SynSignature::UNKNOWN;
        signature.version = match *version {
            "4" => 4,
            "6" => 6,
            other => return Err(field("IP version", other, "4 or 6; a verdict is on one of them")),
        };
        signature.ttl = read_ttl(ttl)?;
        signature.ip_options_len = number(olen)
            .ok_or_else(|| field("length of IP options", olen, "a number of bytes up to 255"))?;
        let any_mss = *mss == "*";
        if !any_mss {
            signature.mss = number(mss)
                .ok_or_else(|| field("segment size", mss, "a number, or `*` for any"))?;
        }
        signature.scale =
            number(scale).ok_or_else(|| field("window scale", scale, "a number up to 255"))?;
        read_layout(layout, &mut signature)?;
        signature.quirks = read_quirks(quirks)?;
        signature.has_payload = match *pclass {
            "0" => 0,
            "+" => 1,
            other => {
                return Err(field(
                    "payload class",
                    other,
                    "`0` without payload, `+` with; a verdict is on one of them",
                ));
            }
        };
        check(&signature)?;
        let window = read_window(window, &signature, any_mss)?;
        Ok(Self { signature, window, any_mss })
    }
}

/// `64`, or `63+1` as `raw_sig` has it; the distance may be in doubt.
fn read_ttl(text: &str) -> Result<u8, SynError> {
    let wrong = |wanted| field("initial TTL", text, wanted);
    let (seen, distance) = match text.split_once('+') {
        Some((seen, distance)) => (seen, Some(distance)),
        None => (text, None),
    };
    let seen: u8 = number(seen).ok_or_else(|| {
        wrong("32, 64, 128 or 255, or what was seen and the distance, as in `63+1`")
    })?;
    let initial = initial_ttl(seen);
    match distance {
        None if seen == initial => Ok(seen),
        None => {
            Err(wrong("SYNs begin with 32, 64, 128 or 255; with its distance it is as in `63+1`"))
        }
        Some("?") => Ok(initial),
        Some(distance) if number::<u8>(distance) == Some(initial - seen) => Ok(initial),
        Some(_) => Err(wrong("what was seen and the distance come to 32, 64, 128 or 255")),
    }
}

fn read_layout(text: &str, signature: &mut SynSignature) -> Result<(), SynError> {
    const FIELD: &str = "TCP option";
    if text.is_empty() {
        return Ok(());
    }
    let mut names = text.split(',').peekable();
    while let Some(name) = names.next() {
        let kind = if let Some(padding) = name.strip_prefix(END) {
            signature.padding = number(padding)
                .filter(|padding| *padding < 40)
                .ok_or_else(|| field(FIELD, name, "`eol+` and the bytes behind it, up to 39"))?;
            if names.peek().is_some() {
                return Err(field(FIELD, name, "nothing follows the end of the options"));
            }
            option::END
        } else if let Some(kind) = name.strip_prefix('?') {
            let kind = number(kind).filter(|kind| is_nameless(*kind));
            kind.ok_or_else(|| field(FIELD, name, "`?` and the number of a kind without a name"))?
        } else {
            let named = OPTIONS.iter().find(|(known, _)| *known == name);
            let wanted = "one of mss, ws, sok, sack, ts, nop, eol+N, or ?N for others";
            named.map(|(_, kind)| *kind).ok_or_else(|| field(FIELD, name, wanted))?
        };
        let Some(place) = signature.layout.get_mut(usize::from(signature.options)) else {
            return Err(field("list of TCP options", text, "it has more than 24"));
        };
        *place = kind;
        signature.options += 1;
    }
    Ok(())
}

fn is_nameless(kind: u8) -> bool {
    kind != option::END && OPTIONS.iter().all(|(_, named)| *named != kind)
}

/// How long the options are at least.
fn least_len(signature: &SynSignature) -> u32 {
    let length = |kind: &u8| match *kind {
        option::END => 1 + u32::from(signature.padding),
        option::NOP => 1,
        option::MSS => 4,
        option::WINDOW_SCALE => 3,
        option::TIMESTAMPS => 10,
        option::SACK => 10,
        _ => 2,
    };
    layout(signature).iter().map(length).sum()
}

/// How long they are, where their kinds tell; otherwise 0.
fn options_len(signature: &SynSignature) -> u8 {
    let tells = |kind: &u8| !is_nameless(*kind) && *kind != option::SACK;
    if signature.quirks & QUIRK_BAD_OPTIONS == 0 && layout(signature).iter().all(tells) {
        least_len(signature) as u8
    } else {
        0
    }
}

fn read_quirks(text: &str) -> Result<u32, SynError> {
    let mut quirks = 0;
    for name in text.split(',').filter(|_| !text.is_empty()) {
        let known = QUIRKS.iter().find(|(known, _)| *known == name);
        let wanted = "one of df, id+, id-, ecn, 0+, flow, seq-, ack+, ack-, uptr+, urgf+, pushf+, \
                      ts1-, ts2+, opt+, exws, bad";
        let (_, bit) = known.ok_or_else(|| field("quirk", name, wanted))?;
        if quirks & bit != 0 {
            return Err(field("list of quirks", text, "one of them is there twice"));
        }
        quirks |= bit;
    }
    Ok(quirks)
}

/// `mss*44`, `mtu*4` or bytes, which count as a multiple where p0f would show them as one.
fn read_window(text: &str, signature: &SynSignature, any_mss: bool) -> Result<Window, SynError> {
    let wanted = "a number, or `mss*N` or `mtu*N` with N up to 655; a verdict is on one of them";
    let wrong = || field("window", text, wanted);
    let is_v6 = signature.version == 6;
    let times = |text| number(text).filter(|times| (1..=MOST_TIMES).contains(times));
    let form = if let Some(segments) = text.strip_prefix("mss*") {
        Window::Segments(times(segments).ok_or_else(wrong)?)
    } else if let Some(packets) = text.strip_prefix("mtu*") {
        Window::Packets(times(packets).ok_or_else(wrong)?)
    } else {
        let window: u16 = number(text).ok_or_else(wrong)?;
        return Ok(match Window::of_ethernet(window, is_v6) {
            _ if !any_mss => {
                let options_len = options_len(signature);
                SynSignature { window, options_len, ..*signature }.window_form()
            }
            Some(usual) => usual,
            None if window != 0 && u32::from(window).is_multiple_of(MTU) => {
                Window::Packets(window / MTU as u16)
            }
            None => Window::Bytes(window),
        });
    };
    if !any_mss && u32::from(signature.mss) < LEAST_MSS {
        let why = "a window is a multiple only of a segment size of 100 or more";
        return Err(SynError::Contradiction(why));
    }
    Ok(form)
}

/// Refuses what contradicts itself.
fn check(signature: &SynSignature) -> Result<(), SynError> {
    let has = |bits| signature.quirks & bits != 0;
    let has_option = |kind| layout(signature).contains(&kind);
    let is_v4 = signature.version == 4;
    let olen = signature.ip_options_len;
    let why = if is_v4 && (olen > MAX_V4_OPTIONS || !olen.is_multiple_of(4)) {
        "IPv4 options take a multiple of 4 bytes, at most 40"
    } else if is_v4 && has(QUIRK_FLOW_LABEL) {
        "IPv4 has no flow label"
    } else if !is_v4 && has(QUIRK_DF | QUIRK_ID_WITH_DF | QUIRK_NO_ID | QUIRK_RESERVED) {
        "df, id+, id- and 0+ are of IPv4"
    } else if has(QUIRK_ID_WITH_DF) && !has(QUIRK_DF) {
        "id+ needs df"
    } else if has(QUIRK_NO_ID) && has(QUIRK_DF) {
        "id- and df exclude each other"
    } else if signature.mss != 0 && !has_option(option::MSS) {
        "it has a segment size but no option mss"
    } else if signature.scale != 0 && !has_option(option::WINDOW_SCALE) {
        "it has a window scale but no option ws"
    } else if least_len(signature) > MAX_OPTIONS_LEN && !has(QUIRK_BAD_OPTIONS) {
        "TCP options take at most 40 bytes"
    } else {
        return Ok(());
    };
    Err(SynError::Contradiction(why))
}
