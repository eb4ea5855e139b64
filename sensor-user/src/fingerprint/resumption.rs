//! Whether a hello offers to resume an earlier session: with a pre-shared key (RFC 8446, section
//! 4.2.11) or with a ticket (RFC 5077, section 3.2). An empty ticket only asks for one.

use weir_common::tls::{Visitor, extension, walk};

#[derive(Default)]
struct Offer(bool);

impl Visitor for Offer {
    const CURVES: bool = false;

    fn version(&mut self, _: u16) {}
    fn cipher_suite(&mut self, _: u16) {}

    fn extension(&mut self, id: u16, length: u16) {
        self.0 |= match id {
            extension::PRE_SHARED_KEY => true,
            extension::SESSION_TICKET => length > 0,
            _ => false,
        };
    }

    fn server_name(&mut self, _: u32, _: u32) {}
    fn alpn(&mut self, _: u32, _: u32, _: [u8; 2]) {}
    fn supported_version(&mut self, _: u16) {}
    fn signature_algorithm(&mut self, _: u16) {}
}

/// Of a handshake message, header included.
#[must_use]
pub fn offers_resumption(message: &[u8]) -> bool {
    let mut offer = Offer::default();
    walk(message, &mut offer).is_ok() && offer.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hello::tests::message;

    #[test]
    fn an_empty_ticket_is_no_offer() {
        let offers = |extensions: &[(u16, &[u8])]| {
            offers_resumption(&message(0x0303, &[0x1301], extensions))
        };
        assert!(!offers(&[(0x0023, &[])]));
        assert!(offers(&[(0x0023, &[1])]));
        assert!(offers(&[(0x0017, &[]), (0x0029, &[0; 8])]));
        assert!(!offers_resumption(&[1, 2, 3]));
    }
}
