//! Sessions as systemd-logind keeps them: a file each, as sd_session_get_remote_host(3) reads them. Only
//! root can have one made.

use std::{fs, net::IpAddr, os::unix::fs::MetadataExt};

use super::Places;

/// Sessions that are looked at: more than a host has.
const MOST: usize = 4096;
/// A session's file is some hundred bytes.
const LARGEST: u64 = 16 << 10;

/// Where sessions over SSH come from.
pub(super) fn peers(places: &Places) -> Vec<IpAddr> {
    let Ok(entries) = fs::read_dir(&places.logind) else { return Vec::new() };
    let files = entries.flatten().take(MOST).filter(|entry| {
        let of_root = |metadata: fs::Metadata| {
            metadata.is_file() && metadata.uid() == 0 && metadata.len() <= LARGEST
        };
        entry.metadata().is_ok_and(of_root)
    });
    let texts = files.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.filter_map(|text| peer(places, &text)).collect()
}

fn peer(places: &Places, text: &str) -> Option<IpAddr> {
    let field = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let is_open = matches!(field("STATE"), Some("active" | "online"));
    let is_users = field("CLASS").is_some_and(|class| class.starts_with("user"));
    if field("REMOTE") != Some("1") || field("SERVICE") != Some("sshd") || !is_open || !is_users {
        return None;
    }
    let leader: u32 = field("LEADER")?.parse().ok()?;
    if !super::is_sshd(&places.proc, leader) {
        return None;
    }
    // With `UseDNS` it can be a name, which whoever owns the address chooses: never looked up.
    field("REMOTE_HOST")?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
