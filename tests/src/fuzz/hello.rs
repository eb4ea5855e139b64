//! ClientHellos to take apart, change and put together again, and the records that carry them:
//! written apart from the product's code, so that neither can hide the other's mistake.

use super::Input;

/// Content type of a handshake record, and the major version of every TLS record.
const HANDSHAKE: [u8; 2] = [22, 3];
/// The longest record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// An extension: its type, and what is in it.
pub(super) type Extension = (u16, Vec<u8>);

/// A ClientHello in parts (RFC 8446, section 4.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parts {
    pub(super) version: u16,
    random: Vec<u8>,
    session: Vec<u8>,
    pub(super) ciphers: Vec<u16>,
    compression: Vec<u8>,
    /// `None`: not even an empty list, as before TLS 1.3.
    pub(super) extensions: Option<Vec<Extension>>,
}

impl Parts {
    /// What can be made of these bytes as a handshake message: what is cut short ends there.
    pub(super) fn salvage(message: &[u8]) -> Self {
        let mut input = Input::new(message);
        input.bytes(4);
        let version = input.half();
        let mut random = input.bytes(32).to_vec();
        random.resize(32, 0);
        let session_len = input.byte().min(32);
        let session = input.bytes(usize::from(session_len)).to_vec();
        let ciphers = input.counted().chunks_exact(2).map(Input::new).map(|mut id| id.half());
        let ciphers = ciphers.collect();
        let compression_len = input.byte();
        let compression = input.bytes(usize::from(compression_len)).to_vec();
        let extensions = (!input.is_empty()).then(|| {
            let mut list = Input::new(input.counted());
            let mut extensions = Vec::new();
            while !list.is_empty() {
                extensions.push((list.half(), list.counted().to_vec()));
            }
            extensions
        });
        Self { version, random, session, ciphers, compression, extensions }
    }

    /// The handshake message; `None`: a list is longer than its length can say.
    pub(super) fn build(&self) -> Option<Vec<u8>> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(&self.random);
        body.push(u8::try_from(self.session.len()).ok()?);
        body.extend(&self.session);
        body.extend(length(2 * self.ciphers.len())?);
        body.extend(self.ciphers.iter().flat_map(|id| id.to_be_bytes()));
        body.push(u8::try_from(self.compression.len()).ok()?);
        body.extend(&self.compression);
        if let Some(extensions) = &self.extensions {
            let mut list = Vec::new();
            for (id, content) in extensions {
                list.extend(id.to_be_bytes());
                list.extend(length(content.len())?);
                list.extend(content);
            }
            body.extend(length(list.len())?);
            body.extend(list);
        }
        Some(with_header(&body))
    }
}

fn length(length: usize) -> Option<[u8; 2]> {
    u16::try_from(length).ok().map(u16::to_be_bytes)
}

/// A ClientHello's header before a body.
fn with_header(body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    [&[1, high, middle, low], body].concat()
}

/// The bytes as a message whose header fits: what a reassembly has to bring back.
pub(super) fn message(bytes: &[u8]) -> Vec<u8> {
    with_header(bytes.get(4..).unwrap_or_default())
}

/// The message in records of at most this many bytes each, the last size for the rest. Bytes of
/// another message may share the last record.
pub(super) fn records(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut rest = message;
    let mut sizes = sizes.iter().copied();
    let mut size = MAX_RECORD;
    while !rest.is_empty() {
        size = sizes.next().unwrap_or(size).clamp(1, MAX_RECORD);
        let (fragment, behind) = rest.split_at(size.min(rest.len()));
        stream.extend(HANDSHAKE);
        stream.push(1);
        stream.extend((fragment.len() as u16).to_be_bytes());
        stream.extend(fragment);
        rest = behind;
    }
    stream
}

/// What the first bytes of a stream come to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Beginning {
    /// More has to come.
    Unfinished,
    /// No ClientHello.
    Other,
    /// A ClientHello.
    Hello {
        /// The handshake message.
        message: Vec<u8>,
        /// Where in the stream it ends.
        end: usize,
    },
}

/// Reads the first bytes of a stream, record by record.
pub(super) fn beginning(stream: &[u8]) -> Beginning {
    let mut gathered = Vec::new();
    let mut rest = stream;
    loop {
        if !HANDSHAKE.starts_with(rest.get(..2).unwrap_or(rest)) {
            return Beginning::Other;
        }
        let Some((&[_, _, _, high, low], body)) = rest.split_first_chunk() else {
            return Beginning::Unfinished;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_RECORD {
            return Beginning::Other;
        }
        let (fragment, behind) = body.split_at(length.min(body.len()));
        gathered.extend(fragment);
        match *gathered.as_slice() {
            [kind, ..] if kind != 1 => return Beginning::Other,
            [_, high, middle, low, ..] => {
                let whole = 4 + u32::from_be_bytes([0, high, middle, low]) as usize;
                if let Some(message) = gathered.get(..whole) {
                    let end = stream.len() - behind.len() - (gathered.len() - whole);
                    return Beginning::Hello { message: message.to_vec(), end };
                }
            }
            _ => {}
        }
        if fragment.len() < length {
            return Beginning::Unfinished;
        }
        rest = behind;
    }
}
