//! JA4 and JA4_r as operators and feeds write them: strict, because a typing error would block
//! nobody, or somebody else.

use std::str::FromStr;

use weir_common::tls::{
    extension, is_grease,
    keys::{MAX_COUNT, Transport},
};

use super::{HASH_LEN, HEAD_LEN, Ja4, Ja4Raw, LEN, raw::NO_ALPN};

/// The text is no such fingerprint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// It has too few or too many parts.
    #[error(
        "{text:?} has {found} parts between underscores, a {form} has {expected}: {example}",
        example = Self::EXAMPLE
    )]
    Parts {
        /// What was given.
        text: String,
        /// `JA4` or `JA4_r`.
        form: &'static str,
        /// Parts found.
        found: usize,
        /// Parts that it should have.
        expected: &'static str,
    },
    /// The readable part is wrong.
    #[error("{head:?} does not begin a JA4: {problem}")]
    Head {
        /// The readable part.
        head: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A hash is not twelve lower-case hexadecimal digits.
    #[error("{hash:?} is not a hash of JA4: write twelve lower-case hexadecimal digits")]
    Hash {
        /// What stands there.
        hash: String,
    },
    /// An entry of a list is not four lower-case hexadecimal digits.
    #[error("{entry:?} in the {list} is not four lower-case hexadecimal digits")]
    Entry {
        /// What stands there.
        entry: String,
        /// Which list.
        list: &'static str,
    },
    /// A list holds what JA4_r leaves out, or is in another order.
    #[error(
        "the {list} of a JA4_r are sorted and without GREASE, server_name (0000) and ALPN (0010), \
             but {entry:04x} is where it does not belong: is this a JA4_ro?"
    )]
    Order {
        /// The entry.
        entry: u16,
        /// Which list.
        list: &'static str,
    },
    /// A count does not agree with its list.
    #[error("{head:?} counts {counted} {list}, but the list makes {listed}")]
    Count {
        /// The readable part.
        head: String,
        /// Which list.
        list: &'static str,
        /// What the readable part says.
        counted: u32,
        /// What the list says.
        listed: u32,
    },
}

impl ParseError {
    const EXAMPLE: &'static str =
        "t13d1516h2_8daaf6152771_e5627efa2ab1, or as JA4_r t13d…_002f,0035_0005,000a_0403,0804";

    const fn head(problem: &'static str, head: String) -> Self {
        Self::Head { head, problem }
    }
}

/// The readable part.
struct Head {
    transport: Transport,
    version: [u8; 2],
    has_server_name: bool,
    ciphers: u32,
    extensions: u32,
    alpn: [u8; 2],
}

impl Head {
    fn parse(text: &str) -> Result<Self, ParseError> {
        let wrong = |problem| ParseError::head(problem, text.to_owned());
        let Ok(&[transport, v1, v2, name, c1, c2, e1, e2, a1, a2]) =
            <&[u8; HEAD_LEN]>::try_from(text.as_bytes())
        else {
            return Err(wrong("it has ten characters, like t13d1516h2"));
        };
        let transport = match transport {
            b't' => Transport::Tcp,
            b'q' => Transport::Quic,
            b'd' => Transport::Dtls,
            _ => return Err(wrong("the first is t (TLS over TCP), q (QUIC) or d (DTLS)")),
        };
        let versions = [b"13", b"12", b"11", b"10", b"s3", b"s2", b"d1", b"d2", b"d3", b"00"];
        if !versions.contains(&&[v1, v2]) {
            return Err(wrong("the version is 10 to 13, s2, s3, d1 to d3, or 00"));
        }
        if !matches!(name, b'd' | b'i') {
            return Err(wrong("behind the version is d (with a server name) or i (without)"));
        }
        if ![c1, c2, e1, e2].iter().all(u8::is_ascii_digit) {
            return Err(wrong("the counts of cipher suites and extensions have two digits each"));
        }
        if !a1.is_ascii_alphanumeric() || !a2.is_ascii_alphanumeric() {
            return Err(wrong("ALPN is two letters or digits, 00 without"));
        }
        let number = |tens: u8, ones: u8| u32::from(tens - b'0') * 10 + u32::from(ones - b'0');
        Ok(Self {
            transport,
            version: [v1, v2],
            has_server_name: name == b'd',
            ciphers: number(c1, c2),
            extensions: number(e1, e2),
            alpn: [a1, a2],
        })
    }
}

fn hash(text: &str) -> Result<(), ParseError> {
    if text.len() == HASH_LEN && text.bytes().all(is_digit) {
        Ok(())
    } else {
        Err(ParseError::Hash { hash: text.to_owned() })
    }
}

const fn is_digit(character: u8) -> bool {
    matches!(character, b'0'..=b'9' | b'a'..=b'f')
}

fn list(text: &str, list: &'static str) -> Result<Vec<u16>, ParseError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let entries = text.split(',').map(|entry| {
        let well_formed = entry.len() == 4 && entry.bytes().all(is_digit);
        let value = u16::from_str_radix(entry, 16).ok().filter(|_| well_formed);
        value.ok_or_else(|| ParseError::Entry { entry: entry.to_owned(), list })
    });
    entries.collect()
}

/// That a list is sorted and holds nothing that JA4_r leaves out.
fn check_sorted(values: &[u16], list: &'static str) -> Result<(), ParseError> {
    let mut least = 0;
    for entry in values.iter().copied() {
        if entry < least || is_grease(entry) {
            return Err(ParseError::Order { entry, list });
        }
        least = entry;
    }
    Ok(())
}

impl FromStr for Ja4 {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split('_').collect();
        let &[head, ciphers, rest] = parts.as_slice() else {
            return Err(ParseError::Parts {
                text: text.to_owned(),
                form: "JA4",
                found: parts.len(),
                expected: "three",
            });
        };
        Head::parse(head)?;
        hash(ciphers)?;
        hash(rest)?;
        let wrong = |_| ParseError::Hash { hash: text.to_owned() };
        <[u8; LEN]>::try_from(text.as_bytes()).map(Self).map_err(wrong)
    }
}

const CIPHERS: &str = "cipher suites";
const EXTENSIONS: &str = "extensions";
const SIGNATURES: &str = "signature algorithms";

impl FromStr for Ja4Raw {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split('_').collect();
        let (head_text, ciphers, extensions, signatures) = match *parts.as_slice() {
            [head, ciphers, extensions] => (head, ciphers, extensions, ""),
            [head, ciphers, extensions, signatures] if !signatures.is_empty() => {
                (head, ciphers, extensions, signatures)
            }
            _ => {
                return Err(ParseError::Parts {
                    text: text.to_owned(),
                    form: "JA4_r",
                    found: parts.len(),
                    expected: "three, or four with signature algorithms",
                });
            }
        };
        let head = Head::parse(head_text)?;
        let mut raw = Self {
            transport: head.transport,
            version: head.version,
            has_server_name: head.has_server_name,
            alpn: head.alpn,
            extension_count: head.extensions,
            ciphers: list(ciphers, CIPHERS)?,
            extensions: list(extensions, EXTENSIONS)?,
            signatures: list(signatures, SIGNATURES)?,
        };
        check_sorted(&raw.ciphers, CIPHERS)?;
        check_sorted(&raw.extensions, EXTENSIONS)?;
        let unlisted = |id: &&u16| matches!(**id, extension::SERVER_NAME | extension::ALPN);
        if let Some(entry) = raw.extensions.iter().find(unlisted) {
            return Err(ParseError::Order { entry: *entry, list: EXTENSIONS });
        }
        if let Some(entry) = raw.signatures.iter().find(|id| is_grease(**id)) {
            return Err(ParseError::Order { entry: *entry, list: SIGNATURES });
        }
        raw.check_counts(&head, head_text)?;
        Ok(raw)
    }
}

impl Ja4Raw {
    fn check_counts(&mut self, head: &Head, text: &str) -> Result<(), ParseError> {
        let wrong = |list, counted, listed| {
            Err(ParseError::Count { head: text.to_owned(), list, counted, listed })
        };
        let ciphers = (self.ciphers.len() as u32).min(MAX_COUNT);
        if ciphers != head.ciphers {
            return wrong(CIPHERS, head.ciphers, ciphers);
        }
        // Server name and ALPN are counted and not listed. An ALPN that is empty shows as `00`.
        let has_alpn = self.alpn != NO_ALPN;
        let listed =
            self.extensions.len() as u32 + u32::from(self.has_server_name) + u32::from(has_alpn);
        let with_empty_alpn = listed + u32::from(!has_alpn);
        if ![listed.min(MAX_COUNT), with_empty_alpn.min(MAX_COUNT)].contains(&head.extensions) {
            return wrong(EXTENSIONS, head.extensions, listed.min(MAX_COUNT));
        }
        self.extension_count = if head.extensions < MAX_COUNT { head.extensions } else { listed };
        Ok(())
    }
}
