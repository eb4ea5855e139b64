//! A small writer of MMDB files (MaxMind DB format 2.0), so that tests need nobody's data.

use std::net::IpAddr;

use ipnet::IpNet;

/// A value in a record.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(&'static str),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(2, text.len(), to);
                to.extend(text.as_bytes());
            }
            Self::Number(number) => {
                control(6, 4, to);
                to.extend(number.to_be_bytes());
            }
            Self::Map(pairs) => {
                control(7, pairs.len(), to);
                for (key, value) in pairs {
                    Self::Text(key).write(to);
                    value.write(to);
                }
            }
        }
    }
}

/// The byte that says what follows, and how long it is.
fn control(kind: u8, size: usize, to: &mut Vec<u8>) {
    let size = u8::try_from(size).unwrap();
    if size < 29 {
        to.push(kind << 5 | size);
    } else {
        to.extend([kind << 5 | 29, size - 29]);
    }
}

/// A number of two bytes, as metadata has them.
fn small(number: u16, to: &mut Vec<u8>) {
    control(5, 2, to);
    to.extend(number.to_be_bytes());
}

#[derive(Clone, Copy)]
enum Side {
    Nothing,
    Node(usize),
    Record(usize),
}

/// A database of IPv6, with IPv4 in `::/96`, of these records.
pub(super) fn database(kind: &'static str, records: &[(&str, Value)]) -> Vec<u8> {
    let mut nodes = vec![[Side::Nothing; 2]];
    let mut data = Vec::new();
    for (net, value) in records {
        let place = data.len();
        value.write(&mut data);
        let net: IpNet = net.parse().unwrap();
        let (bits, length) = match net.addr() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), net.prefix_len() + 96),
            IpAddr::V6(v6) => (v6.to_bits(), net.prefix_len()),
        };
        let mut node = 0;
        for depth in 0..length {
            let side = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][side] = Side::Record(place);
            } else if let Side::Node(next) = nodes[node][side] {
                node = next;
            } else {
                nodes.push([Side::Nothing; 2]);
                nodes[node][side] = Side::Node(nodes.len() - 1);
                node = nodes.len() - 1;
            }
        }
    }
    let mut file = Vec::new();
    for node in &nodes {
        for side in node {
            let number = match side {
                Side::Nothing => nodes.len(),
                Side::Node(node) => *node,
                Side::Record(place) => nodes.len() + 16 + place,
            };
            file.extend(u32::try_from(number).unwrap().to_be_bytes());
        }
    }
    file.extend([0; 16]);
    file.extend(&data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    metadata(kind, nodes.len(), &mut file);
    file
}

fn metadata(kind: &'static str, nodes: usize, to: &mut Vec<u8>) {
    let key = |name, to: &mut Vec<u8>| Value::Text(name).write(to);
    control(7, 9, to);
    key("binary_format_major_version", to);
    small(2, to);
    key("binary_format_minor_version", to);
    small(0, to);
    key("build_epoch", to);
    // An extended type: 64 bits.
    to.extend([8, 9 - 7]);
    to.extend(1_700_000_000u64.to_be_bytes());
    key("database_type", to);
    Value::Text(kind).write(to);
    key("description", to);
    Value::Map(vec![("en", Value::Text("made by a test"))]).write(to);
    key("ip_version", to);
    small(6, to);
    key("languages", to);
    // An extended type: an empty array.
    to.extend([0, 11 - 7]);
    key("node_count", to);
    Value::Number(u32::try_from(nodes).unwrap()).write(to);
    key("record_size", to);
    small(32, to);
}
