//! ClientHellos as stories send them (RFC 8446, section 4.1.2), and the records around them.

/// Content type and version of a handshake record.
const RECORD: [u8; 3] = [22, 3, 1];

/// server_name (RFC 6066)
const SERVER_NAME: u16 = 0;
/// padding (RFC 7685)
const PADDING: u16 = 0x0015;
/// session_ticket (RFC 5077)
const SESSION_TICKET: u16 = 0x0023;
/// encrypted_client_hello (RFC 9849)
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// A ClientHello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientHello {
    pub(crate) ciphers: Vec<u16>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
}

impl ClientHello {
    /// One of a tool, with ALPN and without a name.
    pub(crate) fn of_a_tool() -> Self {
        Self::with_ciphers(&[0x1302, 0x1303, 0x1301, 0xc02c, 0x009f])
    }

    /// One of a browser: another fingerprint.
    pub(crate) fn of_a_browser() -> Self {
        Self::with_ciphers(&[0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0x002f])
    }

    fn with_ciphers(ciphers: &[u16]) -> Self {
        let extensions = vec![
            (0x0010, vec![0, 3, 2, b'h', b'2']),
            (0x000a, vec![0, 4, 0, 29, 0, 23]),
            (0x000d, vec![0, 4, 4, 3, 8, 4]),
            (0x002b, vec![4, 3, 4, 3, 3]),
            (0x0033, vec![0; 38]),
        ];
        Self { ciphers: ciphers.to_vec(), extensions }
    }

    /// Adds an extension.
    pub(crate) fn with(mut self, id: u16, content: &[u8]) -> Self {
        self.extensions.push((id, content.to_vec()));
        self
    }

    /// Asks for this name.
    pub(crate) fn named(self, name: &str) -> Self {
        let length = name.len() as u16;
        let mut content = (length + 3).to_be_bytes().to_vec();
        content.push(0);
        content.extend(length.to_be_bytes());
        content.extend(name.bytes());
        self.with(SERVER_NAME, &content)
    }

    /// Resumes a session: one fleeting extension more.
    pub(crate) fn with_ticket(self) -> Self {
        self.with(SESSION_TICKET, &[0x5a; 32])
    }

    /// May hide its name.
    pub(crate) fn encrypted(self) -> Self {
        self.with(ENCRYPTED_CLIENT_HELLO, &[0; 60])
    }

    /// Padded until the stream with its record header is this long.
    pub(crate) fn padded_to(self, length: usize) -> Self {
        let missing = length - self.stream().len() - 4;
        self.with(PADDING, &vec![0; missing])
    }

    /// The handshake message.
    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0x52; 32]);
        body.push(0);
        body.extend((2 * self.ciphers.len() as u16).to_be_bytes());
        body.extend(self.ciphers.iter().flat_map(|id| id.to_be_bytes()));
        body.extend([1, 0]);
        let mut list = Vec::new();
        for (id, content) in &self.extensions {
            list.extend(id.to_be_bytes());
            list.extend((content.len() as u16).to_be_bytes());
            list.extend(content);
        }
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
        with_header(&body)
    }

    /// The stream: the message in one record.
    pub(crate) fn stream(&self) -> Vec<u8> {
        in_records(&self.message(), usize::MAX)
    }
}

/// A ClientHello's header before a body.
fn with_header(body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    [&[1, high, middle, low], body].concat()
}

/// A message in records of at most `most` bytes.
pub(crate) fn in_records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let length = (piece.len() as u16).to_be_bytes();
        [&RECORD[..], &length, piece].concat()
    };
    message.chunks(most.min(1 << 14)).flat_map(record).collect()
}
