//! ClientHellos as browsers and as libraries write them (RFC 8446, section 4.1.2).

use crate::policy::cases::HelloStyle;

/// A cipher suite, extension and group that mean nothing (RFC 8701).
const GREASE: u16 = 0x0a0a;
/// What browsers offer (Chromium 140).
const BROWSER_CIPHERS: [u16; 16] = [
    GREASE, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014,
    0x009c, 0x009d, 0x002f, 0x0035,
];
/// What OpenSSL offers.
const PROGRAM_CIPHERS: [u16; 11] =
    [0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0x009f, 0xcca9, 0xcca8, 0xc02b, 0xc02f, 0x00ff];
/// Suites that are registered and that neither offers: they make one fingerprint differ from another.
const OTHER_CIPHERS: std::ops::Range<u16> = 0xc072..0xc09c;

/// A handshake message, header included. Those of one `variant` have one fingerprint.
pub(super) fn message(style: HelloStyle, variant: u32, name: &str) -> Vec<u8> {
    let is_browser = style == HelloStyle::Browser;
    let ciphers = if is_browser { &BROWSER_CIPHERS[..] } else { &PROGRAM_CIPHERS };
    let mut ciphers = ciphers.to_vec();
    let bits = (0..32).filter(|bit| variant & 1 << bit != 0);
    ciphers.extend(bits.zip(OTHER_CIPHERS).map(|(bit, _)| OTHER_CIPHERS.start + bit));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(32);
    body.extend([9; 32]);
    body.extend((2 * ciphers.len() as u16).to_be_bytes());
    body.extend(ciphers.iter().flat_map(|id| id.to_be_bytes()));
    body.extend([1, 0]);
    let mut extensions = Vec::new();
    if is_browser {
        of_browser(&mut extensions, name);
    } else {
        of_program(&mut extensions, name);
    }
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut message = (1 << 24 | body.len() as u32).to_be_bytes().to_vec();
    message.extend(body);
    message
}

fn of_browser(list: &mut Vec<u8>, name: &str) {
    extension(list, GREASE, &[]);
    server_name(list, name);
    extension(list, 23, &[]);
    extension(list, 0xff01, &[0]);
    extension(list, 10, &[0, 8, 0x0a, 0x0a, 0, 29, 0, 23, 0, 24]);
    extension(list, 11, &[1, 0]);
    extension(list, 35, &[]);
    extension(list, 16, b"\x00\x0c\x02h2\x08http/1.1");
    extension(list, 5, &[1, 0, 0, 0, 0]);
    extension(list, 13, &[0, 16, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1]);
    extension(list, 18, &[]);
    extension(list, 51, &key_share());
    extension(list, 45, &[1, 1]);
    extension(list, 43, &[6, 0x0a, 0x0a, 3, 4, 3, 3]);
    extension(list, 27, &[2, 0, 2]);
    extension(list, 17_613, &[0, 3, 2, b'h', b'2']);
    extension(list, 0xfe0d, &[0; 186]);
}

fn of_program(list: &mut Vec<u8>, name: &str) {
    server_name(list, name);
    extension(list, 11, &[3, 0, 1, 2]);
    extension(list, 10, &[0, 6, 0, 29, 0, 23, 0, 24]);
    extension(list, 35, &[]);
    extension(list, 22, &[]);
    extension(list, 23, &[]);
    extension(list, 13, &[0, 10, 4, 3, 5, 3, 6, 3, 8, 7, 8, 8]);
    extension(list, 43, &[4, 3, 4, 3, 3]);
    extension(list, 45, &[1, 1]);
    extension(list, 51, &key_share());
}

fn server_name(list: &mut Vec<u8>, name: &str) {
    // What is asked for any name below a domain is asked for one.
    let name = name.strip_prefix('*').map_or_else(|| name.to_owned(), |rest| format!("www{rest}"));
    if name.is_empty() {
        return;
    }
    let length = name.len() as u16;
    let mut value = (length + 3).to_be_bytes().to_vec();
    value.push(0);
    value.extend(length.to_be_bytes());
    value.extend(name.as_bytes());
    extension(list, 0, &value);
}

/// One of X25519.
fn key_share() -> Vec<u8> {
    let mut value = vec![0, 36, 0, 29, 0, 32];
    value.extend([5; 32]);
    value
}

fn extension(list: &mut Vec<u8>, id: u16, value: &[u8]) {
    list.extend(id.to_be_bytes());
    list.extend((value.len() as u16).to_be_bytes());
    list.extend(value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fingerprint::{
        hello::ClientHello,
        ja4::{Ja4, Transport},
    };

    #[test]
    fn every_variant_is_a_fingerprint_of_its_own() {
        let ja4 = |style, variant| {
            let message = message(style, variant, "*.example.com");
            let hello = ClientHello::read(&message).unwrap();
            assert_eq!(hello.server_name_text().unwrap(), "www.example.com");
            Ja4::of(&hello, Transport::Tcp).to_string()
        };
        assert!(ja4(HelloStyle::Browser, 0).starts_with("t13d1516h2_8daaf6152771_"));
        assert!(ja4(HelloStyle::Program, 0).starts_with("t13d111000_"));
        let all: BTreeSet<String> = (0..100).map(|it| ja4(HelloStyle::Program, it)).collect();
        assert_eq!(all.len(), 100);
    }
}
