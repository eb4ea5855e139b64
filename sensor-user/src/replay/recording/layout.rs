//! How an event lies in a recording: its numbers one after the other, little-endian, without padding.
//!
//! A recording says which numbers those are, by name and size. So one made by another version is
//! understood as far as both know the same numbers: what it has more is passed over, what it lacks is
//! zero. Every type is taken apart by name here, so that a field that is added to it cannot be
//! forgotten.

use weir_common::abi::{
    Closed, Direction, Established, EventHeader, Flow, FlowKey, Hit, Milestone, Records, SourceKey,
    SynSignature,
};

use crate::{
    event::{Hello, Signal},
    fingerprint::{
        agreement::{SUITES, SuiteOrder},
        ja4::{Ja4, LEN as JA4_LEN},
        traits::HelloTraits,
    },
};

/// A number of an event: its name, and its size in bytes.
pub(super) type Field = (String, usize);

/// Takes an event's numbers out of a record, in the order in which this version has them.
pub(super) struct Cursor<'a> {
    record: &'a [u8],
    /// Where each number of this version begins; `None`: the recording has none like it.
    places: std::slice::Iter<'a, Option<usize>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(record: &'a [u8], places: &'a [Option<usize>]) -> Self {
        Self { record, places: places.iter() }
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        let place = self.places.next().copied().flatten();
        let bytes = place.and_then(|place| self.record.get(place..)?.first_chunk::<N>());
        bytes.copied().unwrap_or([0; N])
    }
}

/// A type that can lie in a recording.
pub(super) trait Layout: Sized {
    /// Its numbers.
    fn fields(name: &str, fields: &mut Vec<Field>);
    /// Puts them down.
    fn put(&self, into: &mut Vec<u8>);
    /// Takes them up.
    fn take(cursor: &mut Cursor<'_>) -> Self;
}

macro_rules! number {
    ($($type:ty),+) => {$(
        impl Layout for $type {
            fn fields(name: &str, fields: &mut Vec<Field>) {
                fields.push((name.to_owned(), size_of::<Self>()));
            }

            fn put(&self, into: &mut Vec<u8>) {
                into.extend_from_slice(&self.to_le_bytes());
            }

            fn take(cursor: &mut Cursor<'_>) -> Self {
                Self::from_le_bytes(cursor.next())
            }
        }
    )+};
}

number!(u8, u16, u32, u64);

macro_rules! array {
    ($($type:ty),+) => {$(
        impl<const N: usize> Layout for [$type; N] {
            fn fields(name: &str, fields: &mut Vec<Field>) {
                for index in 0..N {
                    fields.push((format!("{name}.{index}"), size_of::<$type>()));
                }
            }

            fn put(&self, into: &mut Vec<u8>) {
                self.iter().for_each(|number| number.put(into));
            }

            fn take(cursor: &mut Cursor<'_>) -> Self {
                std::array::from_fn(|_| Layout::take(cursor))
            }
        }
    )+};
}

array!(u8, u16, u32, u64);

/// Names every field of a type, in any order.
macro_rules! layout {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl Layout for $type {
            fn fields(name: &str, fields: &mut Vec<Field>) {
                $(of(|it: &Self| &it.$field, &join(name, stringify!($field)), fields);)+
            }

            fn put(&self, into: &mut Vec<u8>) {
                let Self { $($field),+ } = self;
                $($field.put(into);)+
            }

            fn take(cursor: &mut Cursor<'_>) -> Self {
                $(let $field = Layout::take(cursor);)+
                Self { $($field),+ }
            }
        }
    };
}

/// The numbers of a field, whose type the compiler knows.
fn of<S, F: Layout>(_: impl Fn(&S) -> &F, name: &str, fields: &mut Vec<Field>) {
    F::fields(name, fields);
}

fn join(name: &str, field: &str) -> String {
    if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") }
}

layout!(EventHeader { at_ns, kind, detail, service, mode, ifindex });
layout!(FlowKey { remote, local, remote_port, local_port, protocol });
layout!(SourceKey { words });
layout!(SynSignature {
    layout,
    quirks,
    mss,
    window,
    ttl,
    version,
    ip_options_len,
    scale,
    options,
    padding,
    has_payload,
    options_len,
});
layout!(Direction { last_ns, bytes, packets, payloads, gaps, sizes });
layout!(Records { next, count, lengths, state, read, kind, length_high });
layout!(Flow {
    proven_ns,
    asked_ns,
    ingress,
    egress,
    rtt_ns,
    exchanges,
    client_next,
    server_next,
    server_unacked,
    server_window,
    out_of_window,
    flags,
    service,
    window_shift,
    client,
    hello_base,
    ts_recent,
    hello_ns,
    client_port,
    hello,
    reserved,
    ingress_records,
    egress_records,
    longest_gap_ms,
    quiet_ms,
    retransmissions,
    told_tick,
});
layout!(Established {
    header,
    key,
    server_ns,
    rtt_ns,
    connections,
    connections_10s,
    flags,
    ttl,
    syn_retries,
    client_port,
    would_class,
    client,
    syn,
});
layout!(Closed { header, key, flow });
layout!(Milestone { header, key, value });
layout!(Hit { header, source, class, prefix_len, by, hits, fingerprint });
layout!(Signal { at_ns, client, client_port, service, kind, entity, endpoint });
layout!(Hello {
    at_ns,
    key,
    client,
    client_port,
    service,
    flags,
    segments,
    delay_ns,
    ja4,
    stable,
    suites,
    traits,
    offers_resumption,
    would_class,
});

impl Layout for bool {
    fn fields(name: &str, fields: &mut Vec<Field>) {
        u8::fields(name, fields);
    }

    fn put(&self, into: &mut Vec<u8>) {
        u8::from(*self).put(into);
    }

    fn take(cursor: &mut Cursor<'_>) -> Self {
        u8::take(cursor) != 0
    }
}

/// One more than it is; 0 = there is none.
impl Layout for Option<u64> {
    fn fields(name: &str, fields: &mut Vec<Field>) {
        u64::fields(name, fields);
    }

    fn put(&self, into: &mut Vec<u8>) {
        self.map_or(0, |number| number.saturating_add(1)).put(into);
    }

    fn take(cursor: &mut Cursor<'_>) -> Self {
        u64::take(cursor).checked_sub(1)
    }
}

/// As text; what is none is the one that nobody has.
impl Layout for Ja4 {
    fn fields(name: &str, fields: &mut Vec<Field>) {
        fields.push((name.to_owned(), JA4_LEN));
    }

    fn put(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.as_str().as_bytes());
    }

    fn take(cursor: &mut Cursor<'_>) -> Self {
        let text = cursor.next::<JA4_LEN>();
        let text = std::str::from_utf8(&text).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(Self::NOBODYS)
    }
}

impl Layout for SuiteOrder {
    fn fields(name: &str, fields: &mut Vec<Field>) {
        of(|it: &Self| it.ids(), name, fields);
    }

    fn put(&self, into: &mut Vec<u8>) {
        self.ids().put(into);
    }

    fn take(cursor: &mut Cursor<'_>) -> Self {
        Self::of(&<[u16; SUITES]>::take(cursor))
    }
}

impl Layout for HelloTraits {
    fn fields(name: &str, fields: &mut Vec<Field>) {
        u16::fields(name, fields);
    }

    fn put(&self, into: &mut Vec<u8>) {
        self.bits().put(into);
    }

    fn take(cursor: &mut Cursor<'_>) -> Self {
        Self::from_bits(u16::take(cursor))
    }
}
