//! Reads fingerprints as operators write them.

use std::str::FromStr;

use super::{Fingerprint, FingerprintName, Form};
use crate::{
    fingerprint::{
        ja4::{Ja4, Ja4Raw, ParseError, Transport},
        syn::SynError,
    },
    policy::suggest,
};

/// What can stand before the first colon.
const KINDS: &[&str] = &["ja4_r", "ja4", "stable", "tcp", "ja4-key", "tcp-key"];

/// Forms that hash or show something that Weir does not look at, or not as this.
const OTHERS: &[&str] = &["ja3", "ja4_o", "ja4_ro", "ja4s", "ja4h", "ja4t", "ja4x", "ja4l"];

/// Why a text names no fingerprint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FingerprintError {
    /// Nothing is called this.
    #[error("`{kind}:` is no kind of fingerprint; {help}")]
    Kind {
        /// What stands before the colon.
        kind: String,
        /// What would be right.
        help: String,
    },
    /// A form that cannot be blocked by.
    #[error(
        "nothing can be blocked by `{0}:`; `weir fingerprint` shows the JA4 of the same hello, to be \
         written `ja4:…`"
    )]
    Other(String),
    /// Not a JA4 or JA4_r.
    #[error(transparent)]
    Ja4(#[from] ParseError),
    /// A JA4_r where a JA4 belongs.
    #[error("this is a JA4_r: write `ja4_r:{0}`")]
    IsRaw(String),
    /// Hellos over DTLS.
    #[error(
        "`{0}` is of DTLS, which is read in captures only: block its addresses, or the port's service"
    )]
    Dtls(String),
    /// Not a SYN signature.
    #[error(transparent)]
    Syn(#[from] SynError),
    /// Not a key.
    #[error("`{0}` is not a key: sixteen hexadecimal digits, as `weir verdicts` shows it")]
    Key(String),
}

/// Whether a text is meant as a fingerprint: what stands before its first colon could begin no
/// IPv6 address.
#[must_use]
pub(crate) fn is_meant(text: &str) -> bool {
    let Some((kind, _)) = text.split_once(':') else { return false };
    !kind.is_empty() && kind.chars().any(|c| !c.is_ascii_hexdigit()) && !kind.contains(['/', '.'])
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "ja4" => match rest.parse::<Ja4>() {
                Ok(ja4) => Self::hash(FingerprintName::Ja4(ja4), &ja4),
                // Its mistake is told only if it is neither.
                Err(_) if rest.parse::<Ja4Raw>().is_ok() => {
                    Err(FingerprintError::IsRaw(rest.to_owned()))
                }
                Err(error) => Err(error.into()),
            },
            "ja4_r" => Self::raw_of(rest, |raw| FingerprintName::Ja4(raw.ja4())),
            "stable" => match rest.parse::<Ja4>() {
                Ok(ja4) => Self::hash(FingerprintName::Stable(ja4), &ja4),
                Err(error) => {
                    let raw = Self::raw_of(rest, |raw| FingerprintName::Stable(raw.stable()));
                    // A text with lists was meant as a JA4_r.
                    if rest.contains(',') { raw } else { raw.or(Err(error.into())) }
                }
            },
            "tcp" => {
                let name = FingerprintName::Syn(rest.parse()?);
                Ok(Self { name, form: Form::Named })
            }
            "ja4-key" => Self::key(rest, FingerprintName::FoundTls),
            "tcp-key" => Self::key(rest, FingerprintName::FoundSyn),
            other if OTHERS.contains(&other) => Err(FingerprintError::Other(other.to_owned())),
            other => {
                let help = suggest::help(other, KINDS).unwrap_or_default();
                Err(FingerprintError::Kind { kind: other.to_owned(), help })
            }
        }
    }
}

impl Fingerprint {
    fn hash(name: FingerprintName, ja4: &Ja4) -> Result<Self, FingerprintError> {
        if ja4.as_str().starts_with(char::from(Transport::Dtls as u8)) {
            return Err(FingerprintError::Dtls(ja4.to_string()));
        }
        Ok(Self { name, form: Form::Hash })
    }

    fn raw_of(
        text: &str,
        name: impl Fn(&Ja4Raw) -> FingerprintName,
    ) -> Result<Self, FingerprintError> {
        let raw: Ja4Raw = text.parse()?;
        let hashed = Self::hash(name(&raw), &raw.ja4())?;
        Ok(Self { form: Form::Raw(raw), ..hashed })
    }

    fn key(text: &str, name: impl Fn(u64) -> FingerprintName) -> Result<Self, FingerprintError> {
        let is_key = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let key = u64::from_str_radix(text, 16).ok().filter(|_| is_key);
        let name = key.map(name).ok_or_else(|| FingerprintError::Key(text.to_owned()))?;
        Ok(Self { name, form: Form::Named })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "t13d0205h2_1301,1302_000a,0023,002b_0403,0804";

    fn name(text: &str) -> String {
        text.parse::<Fingerprint>().unwrap().name().to_string()
    }

    #[test]
    fn every_way_to_write_a_fingerprint_comes_to_one_name() {
        let raw: Ja4Raw = RAW.parse().unwrap();
        let ja4 = format!("ja4:{}", raw.ja4());
        assert_eq!(name(&ja4), ja4);
        assert_eq!(name(&format!("ja4_r:{RAW}")), ja4);
        let stable = format!("stable:{}", raw.stable());
        assert_eq!(name(&stable), stable);
        assert_eq!(name(&format!("stable:{RAW}")), stable);
        let linux = "tcp:4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0";
        assert_eq!(name(linux), linux);
        assert_eq!(name(&linux.replace(":64:", ":54+10:")), linux);
        assert_eq!(name("ja4-key:00000000000000FF"), "ja4-key:00000000000000ff");
        assert_eq!(name("tcp-key:0123456789abcdef"), "tcp-key:0123456789abcdef");
        let known: Fingerprint = format!("ja4_r:{RAW}").parse().unwrap();
        assert_eq!(known.stable().unwrap().name().to_string(), stable);
        let hash: Fingerprint = ja4.parse().unwrap();
        assert_eq!(hash.stable(), None);
        assert_eq!(hash.resolved(&raw), known);
    }

    #[test]
    fn fingerprints_are_told_from_addresses() {
        for text in ["ja4:x", "ja3:x", "tcp:4", "stable:", "jaa4:x", "ja4_r:t13"] {
            assert!(is_meant(text), "{text}");
        }
        for text in ["2001:db8::1", "fe80::/10", "::1", "192.0.2.7", "ad:1", "", "abc"] {
            assert!(!is_meant(text), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_what_would_be_right() {
        let raw = format!("ja4:{RAW}");
        let dtls = "ja4:dd2i060000_c45550529adf_d9dd6182da81";
        for (text, message) in [
            ("http:x", "`http:` is no kind of fingerprint; known are: ja4_r, ja4, stable, tcp"),
            ("ja4r:t13", "did you mean `ja4_r`?"),
            ("ja3:6734f37431670b3ab4292b8f60f29984", "nothing can be blocked by `ja3:`"),
            ("ja4h:x", "nothing can be blocked by `ja4h:`"),
            (&raw, "this is a JA4_r: write `ja4_r:t13d0205h2_1301"),
            ("ja4:t13d1516h2_8daaf6152771", "has 2 parts between underscores, a JA4 has three"),
            ("ja4:T13d1516h2_8daaf6152771_e5627efa2ab1", "the first is t (TLS over TCP)"),
            ("stable:t13d1516h2_8daaf615277_e5627efa2ab1", "twelve lower-case hexadecimal"),
            ("stable:t13d0205h2_1301,130_000a_0403", "in the cipher suites is not four"),
            (dtls, "is of DTLS, which is read in captures only"),
            ("tcp:4:64:0", "a SYN signature has eight fields"),
            ("ja4-key:ff", "`ff` is not a key: sixteen hexadecimal digits"),
        ] {
            let error = text.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
