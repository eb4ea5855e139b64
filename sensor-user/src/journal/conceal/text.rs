//! Addresses in free text.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The text with addresses and prefixes replaced by what `name` says of them (`None`: it stays), or
/// `None` if nothing was.
pub(in crate::journal) fn mask(
    text: &str,
    name: &mut dyn FnMut(&IpNet) -> Option<String>,
) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    let mut place = 0;
    while let Some(rest) = text.get(place..).filter(|rest| !rest.is_empty()) {
        let begin = rest.find(is_part).map_or(text.len(), |begin| place + begin);
        let Some(rest) = text.get(begin..) else { break };
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let Some(word) = rest.get(..length) else { break };
        place = begin + length.max(1);
        if let Some((net, at, used)) = starts(word).find_map(|at| within(word, at))
            && let Some(other) = name(&net)
        {
            out.push_str(text.get(done..begin + at).unwrap_or_default());
            out.push_str(&other);
            done = begin + at + used;
            // What follows may name another.
            place = done;
        }
    }
    if done == 0 && out.is_empty() {
        return None;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    Some(out)
}

/// What addresses, prefixes and addresses with ports are made of.
const fn is_part(c: char) -> bool {
    c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '/' | '[' | ']')
}

/// Where in a word an address can begin: `http://192.0.2.7`, `[2001:db8::1]`.
fn starts(word: &str) -> impl Iterator<Item = usize> + '_ {
    let after = word.char_indices().filter(|(_, c)| matches!(c, ':' | '/' | '[' | ']'));
    std::iter::once(0).chain(after.map(|(at, _)| at + 1))
}

/// The address that begins at a place of a word, and how long it is.
fn within(word: &str, at: usize) -> Option<(IpNet, usize, usize)> {
    let (net, used) = address(word.get(at..)?)?;
    Some((net, at, used))
}

/// The address or prefix that a word begins with, and how much of it that is. Longest first: what
/// follows (a full stop, a bracket, the rest of a path) does not hide it.
fn address(word: &str) -> Option<(IpNet, usize)> {
    if !word.contains(['.', ':']) {
        return None;
    }
    // No address with port or prefix is longer than 50 characters.
    let longest = word.len().min(64);
    let goes_on = |length: usize| word.as_bytes().get(length).is_some_and(u8::is_ascii_hexdigit);
    (2..=longest)
        .rev()
        .filter(|length| !goes_on(*length))
        .find_map(|length| Some((parse(word.get(..length)?)?, length)))
}

fn parse(text: &str) -> Option<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Some(net.trunc());
    }
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| IpNet::from(address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        mask(text, &mut |_| Some("#".into())).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn addresses_are_found_wherever_people_write_them() {
        for (text, found) in [
            ("192.0.2.7", "#"),
            ("from 192.0.2.7.", "from #."),
            ("(192.0.2.7), 2001:db8::1!", "(#), #!"),
            ("192.0.2.0/24 and 192.0.2.7:443", "# and #"),
            ("[2001:db8::1]:443", "#"),
            ("[2001:db8::1]", "[#]"),
            ("by:2001:db8::1", "by:#"),
            ("192.0.2.7/192.0.2.8", "#/#"),
            ("x=::ffff:192.0.2.7;", "x=#;"),
            ("http://192.0.2.7/login", "http://#/login"),
            ("über 192.0.2.7 → weg", "über # → weg"),
        ] {
            assert_eq!(masked(text), found, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in
            ["", "12:30", "1.2.3", "dead beef", "face", "v1.2", "a:b:c", "12.5 %", "ticket 4711"]
        {
            assert_eq!(masked(text), text);
        }
    }

    #[test]
    fn what_is_not_to_be_named_otherwise_stays() {
        let text = "192.0.2.7 and 198.51.100.1";
        let mut name = |net: &IpNet| (net.to_string() == "192.0.2.7/32").then(|| "#".to_owned());
        assert_eq!(mask(text, &mut name).unwrap(), "# and 198.51.100.1");
        assert_eq!(mask(text, &mut |_| None), None);
    }
}
