//! The samples of RFC 9001 and RFC 9369, appendix A.
//!
//! The samples' CRYPTO frame is sealed here; the tag at the packet's end depends on every byte
//! before it, so that beginning and end show that the packet is the published one.

use super::{
    super::{
        connection_id::ConnectionId,
        forge::hex,
        keys::Keys,
        packet::{Packet, Packets},
        version::Version,
    },
    *,
};

/// RFC 9001, appendix A.2: the CRYPTO frame, after which PADDING fills 1162 bytes.
const FRAME: &str = "
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868
    04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
    616d706c652e636f6dff01000100000a00080006001d00170018001000070005
    04616c706e000500050100000000003300260024001d00209370b2c9caa47fba
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400
    0d0010000e0403050306030203080408050806002d00020101001c0002400100
    3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000
    75300901100f088394c8f03e51570806048000ffff";

/// RFC 9001 and RFC 9369, appendix A.3: the servers' packets.
const SERVER_1: &str = "
    cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a
    5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3
    dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84
    022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc4
    2158407dd074ee";
const SERVER_2: &str = "
    dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698
    baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17
    f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2
    c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca8
    4bed8521e2e140";

fn sample(version: u32) -> Vec<u8> {
    let payload = [hex(FRAME), vec![0; 1162 - 245]].concat();
    Forge { version, number: 2, number_length: 4, ..Forge::default() }.packet(&payload)
}

#[test]
fn client_initials() {
    for (version, begins, ends) in [
        (
            1,
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b",
            "e221af44860018ab0856972e194cd934",
        ),
        (
            0x6b33_43cf,
            "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071",
            "a18b2faa745b6fe189cf772a9f84cbfc",
        ),
    ] {
        let datagram = sample(version);
        assert_eq!(datagram.len(), 1200);
        assert!(datagram.starts_with(&hex(begins)), "beginning of {version:x}");
        assert!(datagram.ends_with(&hex(ends)), "end of {version:x}");

        let (tracker, hellos) = after(&[datagram]);
        let [hello] = hellos.as_slice() else { panic!("no hello: {:?}", tracker.counters()) };
        assert_eq!(hello.message, hex(FRAME)[4..]);
        assert_eq!((hello.version, hello.initials, hello.conflict), (version, 1, false));
        assert_eq!((hello.first_ns, hello.complete_ns), (1_000_000_000, 1_000_000_000));
    }
}

#[test]
fn server_initials_open_with_the_servers_keys_only() {
    for (version, sample) in [(1, SERVER_1), (0x6b33_43cf, SERVER_2)] {
        let datagram = hex(sample);
        let Some(Ok(Packet::Initial(packet))) = Packets::new(&datagram).next() else {
            panic!("no Initial");
        };
        let version = Version::of(version).unwrap();
        let id = ConnectionId::new(&hex("8394c8f03e515708")).unwrap();
        let mut scratch = Vec::new();
        let opened =
            Keys::of_server(&version, &id).unwrap().open(&packet, None, &mut scratch).unwrap();
        assert_eq!((opened.number, opened.reserved_clear), (1, true));
        // An ACK, then a ServerHello.
        assert!(scratch[opened.payload].starts_with(&hex("02000000000600405a020000560303ee")));
        assert!(
            Keys::of_client(&version, &id).unwrap().open(&packet, None, &mut scratch).is_none()
        );
    }
}
