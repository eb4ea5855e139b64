//! Text to pattern and back, what is refused, and the corpus against p0f.

use proptest::prelude::*;
use weir_common::abi::syn::MAX_SYN_OPTIONS;

use super::*;

const SEED: Seed = Seed { add: 0x1234_5678_9abc_def0, multiply: 0x0fed_cba9_8765_4321 };

fn linux() -> SynSignature {
    let mut layout = [0; MAX_SYN_OPTIONS];
    layout[..5].copy_from_slice(&[2, 4, 8, 1, 3]);
    SynSignature {
        layout,
        options: 5,
        options_len: 20,
        quirks: QUIRK_DF | QUIRK_ID_WITH_DF,
        mss: 1460,
        window: 64240,
        ttl: 63,
        version: 4,
        scale: 10,
        ..SynSignature::UNKNOWN
    }
}

fn parse(text: &str) -> Result<SynPattern, SynError> {
    text.parse()
}

#[test]
fn a_linux_syn_reads_as_p0f_prints_it() {
    let raw = "4:63+1:0:1460:mss*44,10:mss,sok,ts,nop,ws:df,id+:0";
    assert_eq!(RawSyn(&linux()).to_string(), raw);
    let exact = SynPattern::exact(&linux());
    assert_eq!(exact.to_string(), "4:64:0:1460:mss*44,10:mss,sok,ts,nop,ws:df,id+:0");
    assert_eq!(parse(raw), Ok(exact));
    let generic = SynPattern::generic(&linux());
    assert_eq!(generic.to_string(), "4:64:0:*:mss*44,10:mss,sok,ts,nop,ws:df,id+:0");
    assert_eq!(linux().keys(&SEED), [exact.key(&SEED), generic.key(&SEED)]);
}

#[test]
fn ways_to_write_one_signature_are_one_pattern() {
    let rest = "10:mss,sok,ts,nop,ws:df,id+:0";
    for text in ["4:64:0:1460:64240", "4:63+1:0:1460:mss*44", "4:40+24:0:1460:64240"] {
        assert_eq!(parse(&format!("{text},{rest}")), Ok(SynPattern::exact(&linux())), "{text}");
    }
    assert_eq!(parse(&format!("4:64:0:*:64240,{rest}")), Ok(SynPattern::generic(&linux())));
    let far = SynSignature { ttl: 90, quirks: 0, ..linux() };
    let raw = "4:90+?:0:1460:mss*44,10:mss,sok,ts,nop,ws::0";
    assert_eq!(RawSyn(&far).to_string(), raw);
    assert_eq!(parse(raw), Ok(SynPattern::exact(&far)));
    let quirks = parse("4:64:0:0:512,0::id+,df:+").unwrap();
    assert_eq!(quirks.to_string(), "4:64:0:0:512,0::df,id+:+");
    let padded = "6:255:8:*:mtu*4,0:nop,?30,sack,eol+3:flow,bad:0";
    assert_eq!(parse(padded).unwrap().to_string(), padded);
}

#[test]
fn mistakes_are_told() {
    for (text, told) in [
        ("", "this one has 1"),
        ("4:64:0:1460:mss*44,10:mss,ws:df", "this one has 7"),
        ("4:64:0:1460:mss*44:mss,ws:df:0", "`mss*44` is no window and scale: `wsize,scale`"),
        ("*:64:0:1460:1,10:mss,ws:df:0", "`*` is no IP version"),
        ("4:60:0:1460:1,10:mss,ws:df:0", "`60` is no initial TTL: SYNs begin with"),
        ("4:64-:0:1460:1,10:mss,ws:df:0", "`64-` is no initial TTL"),
        ("4:63+2:0:1460:1,10:mss,ws:df:0", "`63+2` is no initial TTL"),
        ("4:+64:0:1460:1,10:mss,ws:df:0", "`+64` is no initial TTL"),
        ("4:64:3:1460:1,10:mss,ws:df:0", "a multiple of 4 bytes"),
        ("4:64:x:1460:1,10:mss,ws:df:0", "`x` is no length of IP options"),
        ("4:64:0:99999:1,10:mss,ws:df:0", "`99999` is no segment size"),
        ("4:64:0:1460:%8192,10:mss,ws:df:0", "`%8192` is no window"),
        ("4:64:0:1460:*,10:mss,ws:df:0", "`*` is no window"),
        ("4:64:0:1460:mss*0,10:mss,ws:df:0", "`mss*0` is no window"),
        ("4:64:0:1460:mtu*656,10:mss,ws:df:0", "`mtu*656` is no window"),
        ("4:64:0:1460:1,*:mss,ws:df:0", "`*` is no window scale"),
        ("4:64:0:1460:1,10:mss,wscale:df:0", "`wscale` is no TCP option"),
        ("4:64:0:1460:1,10:mss,,ws:df:0", "`` is no TCP option"),
        ("4:64:0:1460:1,10:mss,eol+1,ws:df:0", "nothing follows the end"),
        ("4:64:0:1460:1,10:mss,ws,eol:df:0", "`eol` is no TCP option"),
        ("4:64:0:1460:1,10:mss,ws,?2:df:0", "`?2` is no TCP option"),
        ("4:64:0:1460:1,10:mss,ws,?256:df:0", "`?256` is no TCP option"),
        ("4:64:0:1460:1,10:mss,ws:df,dff:0", "`dff` is no quirk"),
        ("4:64:0:1460:1,10:mss,ws:df,df:0", "twice"),
        ("4:64:0:1460:1,10:mss,ws:df:*", "`*` is no payload class"),
        ("4:64:0:1460:1,10:mss,ws:flow:0", "no flow label"),
        ("6:64:0:1460:1,10:mss,ws:df:0", "are of IPv4"),
        ("4:64:0:1460:1,10:mss,ws:id+:0", "id+ needs df"),
        ("4:64:0:1460:1,10:mss,ws:df,id-:0", "exclude each other"),
        ("4:64:0:1460:1,10:ws:df:0", "no option mss"),
        ("4:64:0:1460:1,10:mss:df:0", "no option ws"),
        ("4:64:0:99:mss*2,0:mss:df:0", "100 or more"),
        ("4:64:0:0:1,0:ts,ts,ts,ts,ts::0", "at most 40 bytes"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    let many = format!("4:64:0:0:1,0:{}::0", ["nop"; 25].join(","));
    assert!(parse(&many).expect_err("25 options").to_string().contains("more than 24"));
}

/// Signatures as packets give them, and a few that no packet does.
fn signatures() -> impl Strategy<Value = SynSignature> {
    let kinds = prop_oneof![
        Just(option::NOP),
        Just(option::MSS),
        Just(option::WINDOW_SCALE),
        Just(option::SACK_PERMITTED),
        Just(option::TIMESTAMPS),
        Just(34),
    ];
    let options = (prop::collection::vec(kinds, 0..8), prop::option::of(0..8u8));
    let headers = (any::<bool>(), 1..=255u8, any::<u32>(), any::<bool>());
    let sizes = (any::<u16>(), prop_oneof![any::<u16>(), (1..40u16).prop_map(|n| n * 1460)]);
    (options, headers, sizes, any::<u8>()).prop_map(
        |((kinds, padding), (is_v6, ttl, quirks, has_payload), (mss, window), scale)| {
            let mut signature = SynSignature { ttl, window, ..SynSignature::UNKNOWN };
            signature.version = if is_v6 { 6 } else { 4 };
            signature.has_payload = u8::from(has_payload);
            let ip = if is_v6 { QUIRK_FLOW_LABEL } else { QUIRK_DF };
            signature.quirks = quirks & (ip | QUIRK_ECN | QUIRK_TRAILING | QUIRK_ZERO_TIMESTAMP);
            for kind in kinds.into_iter().chain(padding.map(|_| option::END)) {
                signature.layout[usize::from(signature.options)] = kind;
                signature.options += 1;
            }
            signature.padding = padding.unwrap_or(0);
            let has = |kind| layout(&signature).contains(&kind);
            (signature.mss, signature.scale) = (
                if has(option::MSS) { mss } else { 0 },
                if has(option::WINDOW_SCALE) { scale } else { 0 },
            );
            let length = |kind: &u8| match *kind {
                option::END => 1 + signature.padding,
                option::NOP => 1,
                option::MSS => 4,
                option::WINDOW_SCALE => 3,
                option::TIMESTAMPS => 10,
                _ => 2,
            };
            signature.options_len = layout(&signature).iter().map(length).sum();
            if signature.options_len > 40 {
                signature.quirks |= QUIRK_BAD_OPTIONS;
            }
            signature
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(signature in signatures()) {
        let exact = SynPattern::exact(&signature);
        let generic = SynPattern::generic(&signature);
        prop_assert_eq!(parse(&exact.to_string()), Ok(exact));
        prop_assert_eq!(parse(&RawSyn(&signature).to_string()), Ok(exact));
        prop_assert_eq!([exact.key(&SEED), generic.key(&SEED)], signature.keys(&SEED));
        // A window in bytes that fits some segment size is shown as what it mostly is.
        if !matches!(generic.window, Window::Bytes(_)) {
            prop_assert_eq!(parse(&generic.to_string()), Ok(generic));
        }
    }

    #[test]
    fn no_text_panics(text in "[46*:,+0-9msutewoklnpb?-]{0,60}") {
        if let Ok(pattern) = parse(&text) {
            prop_assert_eq!(parse(&pattern.to_string()), Ok(pattern));
        }
    }
}
