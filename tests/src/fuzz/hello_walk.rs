//! The walk over a ClientHello, and every fingerprint that is made of it.

use weir_common::tls::{
    KeyBuilder, Keys, Progress, Seed, Visitor, Walk, extension, is_fleeting, is_grease, walk,
};
use weir_sensor::fingerprint::{
    hello::ClientHello,
    ja3::Ja3,
    ja4::{Ja4, Ja4Raw, ParseError, Transport},
};

use super::{
    Input, MAX_INPUT,
    hello::{Extension, Parts},
};

pub(super) const SEED: Seed = Seed { add: 0x5eed_0000_0000_5eed, multiply: 0x1357_9bdf_0246_8ace };

const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Quic, Transport::Dtls];

/// Walks over the bytes as they are, over the hello that can be made of them, and over that hello
/// changed: keys are equal exactly where JA4s are.
pub fn hello_walk(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let mut input = Input::new(data);
    let message = input.counted();
    check(message);

    let mut parts = Parts::salvage(message);
    let Some(message) = parts.build() else { return };
    check(&message);

    let is_harmless = change(&mut parts, &mut input);
    if let Some(changed) = parts.build() {
        check(&changed);
        compare(&message, &changed, is_harmless);
    }
}

/// What was shown, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Shown {
    Version(u16),
    CipherSuite(u16),
    Extension(u16, u16),
    ServerName(Vec<u8>),
    Alpn(Vec<u8>, Option<[u8; 2]>),
    SupportedVersion(u16),
    SignatureAlgorithm(u16),
    Group(u16),
    PointFormat(u8),
}

struct Recorder<'a, const CURVES: bool> {
    message: &'a [u8],
    shown: Vec<Shown>,
}

impl<const CURVES: bool> Recorder<'_, CURVES> {
    fn bytes(&self, at: u32, length: u32) -> Vec<u8> {
        let bytes = self.message.get(at as usize..).and_then(|rest| rest.get(..length as usize));
        assert!(bytes.is_some(), "{at}+{length} of {}", self.message.len());
        bytes.unwrap_or_default().to_vec()
    }
}

impl<const WANTED: bool> Visitor for Recorder<'_, WANTED> {
    const CURVES: bool = WANTED;

    fn version(&mut self, legacy: u16) {
        self.shown.push(Shown::Version(legacy));
    }

    fn cipher_suite(&mut self, id: u16) {
        self.shown.push(Shown::CipherSuite(id));
    }

    fn extension(&mut self, id: u16, length: u16) {
        self.shown.push(Shown::Extension(id, length));
    }

    fn server_name(&mut self, at: u32, length: u32) {
        self.shown.push(Shown::ServerName(self.bytes(at, length)));
    }

    fn alpn(&mut self, at: u32, length: u32, ends: [u8; 2]) {
        self.shown.push(Shown::Alpn(self.bytes(at, length), (length > 0).then_some(ends)));
    }

    fn supported_version(&mut self, version: u16) {
        self.shown.push(Shown::SupportedVersion(version));
    }

    fn signature_algorithm(&mut self, id: u16) {
        self.shown.push(Shown::SignatureAlgorithm(id));
    }

    fn group(&mut self, id: u16) {
        self.shown.push(Shown::Group(id));
    }

    fn point_format(&mut self, id: u8) {
        self.shown.push(Shown::PointFormat(id));
    }
}

/// What a walk over these parts has to show.
fn expected(parts: &Parts) -> Vec<Shown> {
    let mut shown = vec![Shown::Version(parts.version)];
    shown.extend(parts.ciphers.iter().map(|id| Shown::CipherSuite(*id)));
    for (id, content) in parts.extensions.iter().flatten() {
        shown.push(Shown::Extension(*id, content.len() as u16));
        let mut input = Input::new(content);
        match *id {
            extension::SUPPORTED_VERSIONS => {
                let length = usize::from(input.byte());
                shown.extend(halves(input.bytes(length)).map(Shown::SupportedVersion));
            }
            extension::SIGNATURE_ALGORITHMS => {
                shown.extend(halves(input.counted()).map(Shown::SignatureAlgorithm));
            }
            extension::SUPPORTED_GROUPS => {
                shown.extend(halves(input.counted()).map(Shown::Group));
            }
            extension::EC_POINT_FORMATS => {
                let length = usize::from(input.byte());
                shown.extend(input.bytes(length).iter().copied().map(Shown::PointFormat));
            }
            extension::SERVER_NAME => {
                input.half();
                let kind = input.byte();
                let length = usize::from(input.half());
                if content.len() >= 5 + length && kind == 0 {
                    shown.push(Shown::ServerName(input.bytes(length).to_vec()));
                }
            }
            extension::ALPN => {
                input.half();
                let length = usize::from(input.byte());
                let name = input.bytes(length);
                if content.len() >= 3 + length {
                    let ends = name.first().zip(name.last()).map(|(first, last)| [*first, *last]);
                    shown.push(Shown::Alpn(name.to_vec(), ends));
                }
            }
            _ => {}
        }
    }
    shown
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| Input::new(pair).half())
}

/// Walks step by step: no more of them than promised.
fn record<const CURVES: bool>(message: &[u8]) -> Option<Vec<Shown>> {
    let mut recorder = Recorder::<CURVES> { message, shown: Vec::new() };
    let length = message.len() as u32;
    let mut walk = Walk::begin(message, 0, length, &mut recorder).ok()?;
    for _ in 0..Walk::max_steps(length) {
        match walk.step(message, &mut recorder) {
            Progress::More => {}
            Progress::Done => return Some(recorder.shown),
            Progress::Malformed => return None,
        }
    }
    assert!(message.is_empty(), "more steps than bytes");
    None
}

/// One message: the walk takes it exactly if it holds together, shows what is in it, and all
/// fingerprints agree.
fn check(message: &[u8]) {
    let parts = Parts::salvage(message);
    let holds_together = parts.build().is_some_and(|built| built == message);
    let shown = record::<true>(message);
    assert_eq!(shown.is_some(), holds_together);
    let hello = ClientHello::read(message);
    assert_eq!(hello.is_ok(), holds_together);

    let without_curves = record::<false>(message);
    let (Some(shown), Ok(hello)) = (shown, hello) else {
        assert_eq!(without_curves, None);
        assert!(TRANSPORTS.into_iter().all(|it| Ja4::read(message, it).is_err()));
        return;
    };
    assert_eq!(shown, expected(&parts));
    let is_curve = |shown: &Shown| matches!(shown, Shown::Group(_) | Shown::PointFormat(_));
    let expected: Vec<Shown> = shown.into_iter().filter(|it| !is_curve(it)).collect();
    assert_eq!(without_curves, Some(expected));

    let ja3 = Ja3::of(&hello);
    assert_eq!((ja3.string.split(',').count(), ja3.digest.len()), (5, 32));
    for transport in TRANSPORTS {
        check_ja4(message, &hello, &parts, transport);
    }
}

/// The ways to a JA4 and to the kernel's keys: from the message, from the facts, from JA4_r.
fn check_ja4(message: &[u8], hello: &ClientHello<'_>, parts: &Parts, transport: Transport) {
    let raw = Ja4Raw::of(hello, transport);
    assert_eq!(Ja4Raw::read(message, transport).as_ref(), Ok(&raw));
    let ja4 = raw.ja4();
    assert_eq!(Ja4::read(message, transport), Ok(ja4));
    assert_eq!(ja4.as_str().parse::<Ja4>().as_ref(), Ok(&ja4));
    let keys = keys(message, transport);
    assert_eq!(raw.keys(SEED), keys);

    let extensions: Vec<Extension> = parts.extensions.iter().flatten().cloned().collect();
    match raw.to_string().parse::<Ja4Raw>() {
        Ok(parsed) => {
            assert_eq!(parsed.to_string(), raw.to_string());
            assert_eq!(parsed.ja4(), ja4);
            // A count of 99 is 99 or more.
            let has_exact_count = count(&extensions, |id| !is_grease(id)) < 99;
            if has_exact_count {
                assert_eq!((parsed.stable(), parsed.keys(SEED)), (raw.stable(), keys));
            }
        }
        // JA4_r counts server names and ALPNs and does not list them: of two, it looks wrong.
        Err(error) => {
            let unlisted = [extension::SERVER_NAME, extension::ALPN];
            let is_repeated =
                unlisted.map(|id| count(&extensions, |it| it == id) > 1).contains(&true);
            assert!(matches!(error, ParseError::Count { .. }) && is_repeated, "{raw}: {error}");
        }
    }
}

fn count(extensions: &[Extension], which: impl Fn(u16) -> bool) -> usize {
    extensions.iter().filter(|(id, _)| which(*id)).count()
}

/// As the kernel makes them.
pub(super) fn keys(message: &[u8], transport: Transport) -> Keys {
    let mut builder = KeyBuilder::new(SEED);
    match walk(message, &mut builder) {
        Ok(()) => builder.finish(transport),
        Err(_) => Keys::default(),
    }
}

/// Changes a hello as the input says. `true`: not in what JA4 looks at.
fn change(parts: &mut Parts, input: &mut Input<'_>) -> bool {
    let mut is_harmless = true;
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        let kind = input.byte() % 10;
        let is_unordered = kind < 4;
        let before = parts.extensions.iter().flatten().map(|(id, _)| *id);
        let mut ids: Vec<u16> = before.filter(|id| !is_grease(*id)).collect();
        ids.sort_unstable();
        let has_repeated = ids.array_windows().any(|[one, next]| one == next);
        // The order of extensions matters where one comes twice: the later one may win.
        is_harmless &= is_unordered && !(kind == 1 && has_repeated);
        change_once(kind, parts, input);
    }
    is_harmless
}

fn change_once(kind: u8, parts: &mut Parts, input: &mut Input<'_>) {
    let Parts { version, ciphers, extensions, .. } = parts;
    let grease = u16::from(input.byte() & 0xf0 | 0x0a) * 0x0101;
    let (one, other) = (input.half(), input.half());
    let place = |at: u16, length: usize| usize::from(at) % length.max(1);
    let list = extensions.get_or_insert_default();
    let extension_at = place(one, list.len());
    match kind {
        0 if !ciphers.is_empty() => {
            let (a, b) = (place(one, ciphers.len()), place(other, ciphers.len()));
            ciphers.swap(a, b);
        }
        1 if !list.is_empty() => {
            let with = place(other, list.len());
            list.swap(extension_at, with);
        }
        2 => ciphers.insert(place(one, ciphers.len()), grease),
        3 => list.insert(extension_at, (grease, other.to_be_bytes().to_vec())),
        4 if !ciphers.is_empty() => {
            ciphers.remove(place(one, ciphers.len()));
        }
        5 if !list.is_empty() => {
            list.remove(extension_at);
        }
        6 => ciphers.push(other),
        7 => *version = one,
        8 => list.push((one, input.counted().to_vec())),
        9 => {
            let content = list.get_mut(extension_at).map(|(_, content)| content);
            let at = content.as_ref().map_or(0, |content| place(other, content.len()));
            if let Some(byte) = content.and_then(|content| content.get_mut(at)) {
                *byte ^= input.byte();
            }
        }
        // Nothing there to change.
        _ => {}
    }
}

/// Two hellos have one key exactly if they have one JA4; so have the stable ones.
fn compare(one: &[u8], other: &[u8], is_harmless: bool) {
    for transport in TRANSPORTS {
        let raws = [one, other].map(|message| Ja4Raw::read(message, transport));
        let [Ok(one_raw), Ok(other_raw)] = raws else { continue };
        let (one_keys, other_keys) = (keys(one, transport), keys(other, transport));
        let same = one_raw.ja4() == other_raw.ja4();
        assert_eq!(same, one_keys.matching == other_keys.matching, "{one_raw}\n{other_raw}");
        let same_stable = one_raw.stable() == other_raw.stable();
        assert_eq!(same_stable, one_keys.stable == other_keys.stable, "{one_raw}\n{other_raw}");
        assert!(same && same_stable || !is_harmless, "{one_raw}\n{other_raw}");
        let is_lasting = !one_raw
            .to_string()
            .split(['_', ','])
            .any(|entry| u16::from_str_radix(entry, 16).is_ok_and(is_fleeting));
        assert!(!is_lasting || one_raw.stable() == one_raw.ja4(), "{one_raw}");
    }
}
