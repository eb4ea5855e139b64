//! Hellos by hand: what the walk shows of good ones, and that no other gets through.

use super::*;

/// A ClientHello by its lists. `extensions`: `None` is not even an empty list.
pub(crate) fn message(ciphers: &[u16], extensions: Option<&[(u16, &[u8])]>) -> Vec<u8> {
    with_version(0x0303, ciphers, extensions)
}

/// The same of any version.
pub(crate) fn with_version(
    version: u16,
    ciphers: &[u16],
    extensions: Option<&[(u16, &[u8])]>,
) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([0x52; 32]);
    body.extend([2, 9, 9]);
    body.extend((2 * ciphers.len() as u16).to_be_bytes());
    body.extend(ciphers.iter().flat_map(|id| id.to_be_bytes()));
    body.extend([1, 0]);
    if let Some(extensions) = extensions {
        let list: Vec<u8> = extensions
            .iter()
            .flat_map(|(id, content)| {
                [&id.to_be_bytes(), &(content.len() as u16).to_be_bytes(), *content].concat()
            })
            .collect();
        body.extend((list.len() as u16).to_be_bytes());
        body.extend(list);
    }
    let mut message = (1 << 24 | body.len() as u32).to_be_bytes().to_vec();
    message.extend(body);
    message
}

/// Everything that a walk shows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<(u16, u16)>,
    name: Option<(u32, u32)>,
    alpn: Option<(u32, [u8; 2])>,
    versions: Vec<u16>,
    signatures: Vec<u16>,
    groups: Vec<u16>,
    points: Vec<u8>,
}

impl Visitor for Seen {
    fn version(&mut self, legacy: u16) {
        self.version = legacy;
    }

    fn cipher_suite(&mut self, id: u16) {
        self.ciphers.push(id);
    }

    fn extension(&mut self, id: u16, length: u16) {
        self.extensions.push((id, length));
    }

    fn server_name(&mut self, at: u32, length: u32) {
        self.name = Some((at, length));
    }

    fn alpn(&mut self, _at: u32, length: u32, ends: [u8; 2]) {
        self.alpn = Some((length, ends));
    }

    fn supported_version(&mut self, version: u16) {
        self.versions.push(version);
    }

    fn signature_algorithm(&mut self, id: u16) {
        self.signatures.push(id);
    }

    fn group(&mut self, id: u16) {
        self.groups.push(id);
    }

    fn point_format(&mut self, id: u8) {
        self.points.push(id);
    }
}

fn seen(message: &[u8]) -> Result<Seen, Malformed> {
    let mut seen = Seen::default();
    walk(message, &mut seen).map(|()| seen)
}

/// What a hello with one extension shows of it.
fn in_extension(id: u16, content: &[u8]) -> Seen {
    let seen = seen(&message(&[0x1301], Some(&[(id, content), (0x0017, &[])]))).unwrap();
    assert_eq!(seen.extensions, [(id, content.len() as u16), (0x0017, 0)], "what follows is seen");
    seen
}

#[test]
fn everything_is_shown_in_the_clients_order_grease_too() {
    let name = [&[0, 11, 0, 0, 8][..], b"a.b.test"].concat();
    let message = message(
        &[0x0a0a, 0x1302, 0x1301],
        Some(&[
            (0x1a1a, &[]),
            (extension::SERVER_NAME, &name),
            (extension::SUPPORTED_GROUPS, &[0, 4, 0x2a, 0x2a, 0, 29]),
            (extension::EC_POINT_FORMATS, &[2, 0, 1]),
            (extension::ALPN, &[0, 9, 2, b'h', b'2', 5, b'o', b't', b'h', b'e', b'r']),
            (extension::SIGNATURE_ALGORITHMS, &[0, 4, 8, 4, 4, 3]),
            (extension::SUPPORTED_VERSIONS, &[4, 0x3a, 0x3a, 3, 4]),
        ]),
    );
    let seen = seen(&message).unwrap();
    assert_eq!(seen.version, 0x0303);
    assert_eq!(seen.ciphers, [0x0a0a, 0x1302, 0x1301]);
    assert_eq!(seen.extensions.len(), 7);
    let (at, length) = seen.name.unwrap();
    assert_eq!(&message[at as usize..][..length as usize], b"a.b.test");
    assert_eq!(seen.alpn, Some((2, *b"h2")));
    assert_eq!(seen.groups, [0x2a2a, 29]);
    assert_eq!(seen.points, [0, 1]);
    assert_eq!(seen.signatures, [0x0804, 0x0403]);
    assert_eq!(seen.versions, [0x3a3a, 0x0304]);
}

#[test]
fn before_tls_1_3_a_hello_may_have_no_extensions() {
    assert_eq!(seen(&message(&[0x002f], None)).unwrap().extensions, []);
    assert_eq!(seen(&message(&[0x002f], Some(&[]))).unwrap().extensions, []);
    assert_eq!(seen(&message(&[], None)).unwrap().ciphers, []);
}

#[test]
fn a_message_that_is_cut_or_goes_on_is_none() {
    let whole = message(&[0x1301, 0x1302], Some(&[(0x0017, &[]), (0x0010, &[0, 3, 2, 104, 50])]));
    assert!(seen(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(seen(&whole[..end]).is_err(), "as if it were whole, cut at {end}");
        // Also where its own length says so, but where the list of extensions just is not there.
        let mut cut = whole[..end].to_vec();
        if end >= 4 {
            cut[1..4].copy_from_slice(&(end as u32 - 4).to_be_bytes()[1..]);
        }
        let is_before_extensions = end == message(&[0x1301, 0x1302], None).len();
        assert_eq!(seen(&cut).is_ok(), is_before_extensions, "cut at {end}");
    }
    assert!(seen(&[whole.as_slice(), &[0]].concat()).is_err(), "a byte too many");
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    let whole = message(&[0x1301], Some(&[(0x0017, &[]), (0x0010, &[0, 3, 2, 104, 50])]));
    // Where things stand: session id, cipher suites, compression, extensions, the last one.
    let (session, ciphers, compression, extensions) = (38, 41, 45, 47);
    let last = extensions + 2 + 4;
    for (what, at, value) in [
        ("not a ClientHello", 0, 2),
        ("a longer message", 3, whole[3] + 1),
        ("a shorter message", 3, whole[3] - 1),
        ("65536 bytes more", 1, 1),
        ("a session id of 33 bytes", session, 33),
        ("a session id up to the end", session, 0xff),
        ("half a cipher suite", ciphers + 1, 1),
        ("cipher suites up to the end", ciphers, 0xff),
        ("compression methods up to the end", compression, 0xff),
        ("a longer list of extensions", extensions + 1, whole[extensions + 1] + 1),
        ("a shorter list of extensions", extensions + 1, whole[extensions + 1] - 1),
        ("an extension that is longer than the list", last + 3, 6),
    ] {
        let mut changed = whole.clone();
        changed[at] = value;
        assert_eq!(seen(&changed), Err(Malformed), "{what}");
    }
    let mut shorter = whole;
    shorter[last + 3] = 4;
    assert_eq!(seen(&shorter), Err(Malformed), "a byte between extensions");
}

#[test]
fn in_an_extension_the_whole_elements_that_are_there_count() {
    let versions = |content: &[u8]| in_extension(extension::SUPPORTED_VERSIONS, content).versions;
    assert_eq!(versions(&[4, 3, 4, 3, 3]), [0x0304, 0x0303]);
    assert_eq!(versions(&[2, 3, 4, 3, 3]), [0x0304], "shorter than the extension");
    assert_eq!(versions(&[9, 3, 4, 3, 3]), [0x0304, 0x0303], "longer than the extension");
    assert_eq!(versions(&[3, 3, 4, 3, 3]), [0x0304], "half an element");
    for empty in [&[][..], &[0], &[7], &[0, 3, 4]] {
        assert_eq!(versions(empty), [], "{empty:?}");
    }
    let signatures =
        |content: &[u8]| in_extension(extension::SIGNATURE_ALGORITHMS, content).signatures;
    assert_eq!(signatures(&[0, 4, 4, 3, 8, 4]), [0x0403, 0x0804]);
    assert_eq!(signatures(&[0xff, 0xff, 4, 3, 8]), [0x0403]);
    for empty in [&[][..], &[0], &[0, 0], &[0, 0, 4, 3], &[0, 2]] {
        assert_eq!(signatures(empty), [], "{empty:?}");
    }
    assert_eq!(in_extension(extension::SUPPORTED_GROUPS, &[0]).groups, []);
    assert_eq!(in_extension(extension::EC_POINT_FORMATS, &[9, 1]).points, [1]);
    assert_eq!(in_extension(extension::EC_POINT_FORMATS, &[]).points, []);
}

#[test]
fn names_and_protocols_only_where_they_are_whole() {
    let name = |content: &[u8]| in_extension(extension::SERVER_NAME, content).name.map(|it| it.1);
    assert_eq!(name(&[0, 4, 0, 0, 1, b'a']), Some(1));
    assert_eq!(name(&[0xff, 0xff, 0, 0, 1, b'a']), Some(1), "the list's own length is not used");
    assert_eq!(name(&[0, 3, 0, 0, 0]), Some(0), "an empty name");
    assert_eq!(name(&[0, 4, 0, 0, 2, b'a']), None, "longer than the extension");
    assert_eq!(name(&[0, 4, 1, 0, 1, b'a']), None, "not a host name");
    assert_eq!(name(&[0, 4, 0, 0]), None);
    assert_eq!(name(&[]), None);
    let alpn = |content: &[u8]| in_extension(extension::ALPN, content).alpn;
    assert_eq!(alpn(&[0, 2, 1, b'h']), Some((1, *b"hh")));
    assert_eq!(alpn(&[0, 1, 0]).map(|it| it.0), Some(0), "an empty name");
    assert_eq!(alpn(&[0, 3, 9, b'h', b'2']), None, "longer than the extension");
    assert_eq!(alpn(&[0, 0]), None);
    assert_eq!(alpn(&[]), None);
}

#[test]
fn every_walk_ends_within_its_steps() {
    let empty: &[u8] = &[];
    let messages = [
        message(&[], None),
        message(&[0x1301; 100], Some(&[(0, empty); 50])),
        message(&[], Some(&[(extension::SUPPORTED_VERSIONS, empty); 40])),
        message(&[], Some(&[(extension::EC_POINT_FORMATS, &[200; 201])])),
    ];
    for message in messages {
        let mut seen = Seen::default();
        let end = message.len() as u32;
        let mut walk = Walk::begin(message.as_slice(), 0, end, &mut seen).unwrap();
        let steps = (0..Walk::max_steps(end))
            .find(|_| walk.step(message.as_slice(), &mut seen) == Progress::Done);
        assert!(steps.is_some(), "{} bytes", message.len());
    }
}
