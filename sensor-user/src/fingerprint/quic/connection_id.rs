//! Connection IDs (RFC 9000, section 5.1).

use std::fmt;

/// The longest that versions 1 and 2 allow (RFC 9000, section 17.2).
pub(super) const MAX_CONNECTION_ID: usize = 20;

/// A connection ID of up to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct ConnectionId {
    length: u8,
    // Zero from `length` on, so that equality is that of the bytes.
    bytes: [u8; MAX_CONNECTION_ID],
}

impl ConnectionId {
    /// `None` if there are more than 20 bytes.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self { length: u8::try_from(bytes.len()).ok()?, ..Self::default() };
        id.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(id)
    }

    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        usize::from(self.length)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_twenty_bytes() {
        let bytes: Vec<u8> = (1..=21).collect();
        for length in 0..=20 {
            let id = ConnectionId::new(&bytes[..length]).unwrap();
            assert_eq!((id.as_bytes(), id.len()), (&bytes[..length], length));
        }
        assert_eq!(ConnectionId::new(&bytes), None);
        assert_eq!(ConnectionId::new(&[0; 256]), None);
        assert_eq!(format!("{:?}", ConnectionId::new(&[0x0a, 0xff]).unwrap()), "0aff");
    }

    #[test]
    fn zeros_count() {
        assert_ne!(ConnectionId::new(&[0]), ConnectionId::new(&[0, 0]));
    }
}
