//! Groups of this host, by name.
//!
//! Read from `/etc/group` and nowhere else: the C library would load modules for it, which a static
//! binary must not.

use std::fs;

/// Whoever is in it may use the control socket.
pub const OPERATORS: &str = "weir";
/// Whoever is in it may ask about clients and say something of them, and nothing else.
pub const APPLICATIONS: &str = "weir-apps";

/// The number of a group; `None` if this host has none of that name.
#[must_use]
pub fn id(name: &str) -> Option<u32> {
    find(&fs::read_to_string("/etc/group").ok()?, name)
}

/// group(5): name, password, number, members.
fn find(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1))??.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups =
            "root:x:0:\nweir-apps:x:991:www-data\nweir:x:990:ann,bob\nbroken\nodd:x:many:\n";
        assert_eq!(find(groups, "weir"), Some(990));
        assert_eq!(find(groups, "weir-apps"), Some(991));
        for none in ["wei", "broken", "odd", ""] {
            assert_eq!(find(groups, none), None, "{none}");
        }
    }
}
