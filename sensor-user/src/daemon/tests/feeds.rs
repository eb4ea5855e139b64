//! Feeds in the daemon: there from the first packet, numbered as the policy says, told in the status.

use weir_common::abi::SourceKey;

use super::*;
use crate::score::reputation::Reputation;

fn listed(daemon: &Daemon<Twin>, feed: u16, address: &str) -> Option<bool> {
    let address = address::words(address.parse().unwrap());
    daemon.feeds.current().listed(feed, &SourceKey::from_address(&address))
}

fn with_feeds(feeds: &str) -> String {
    POLICY.replacen("kind: Site\n", &format!("kind: Site\nfeeds: {feeds}\n"), 1)
}

#[test]
fn feeds_are_there_at_once_and_follow_the_policy() {
    let site = Site::new("feeds");
    fs::write(site.root.join("bad.netset"), "203.0.113.7\n").unwrap();
    fs::write(site.root.join("worse.netset"), "203.0.113.9\n").unwrap();
    fs::write(site.root.join("wide.netset"), "0.0.0.0/0\n").unwrap();
    site.write_policy(&with_feeds("{bad: {file: bad.netset}}"));
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        assert_eq!(listed(&daemon, 0, "203.0.113.7"), Some(true));
        assert_eq!(listed(&daemon, 0, "203.0.113.9"), Some(false));
        // A new feed takes the number of another.
        site.write_policy(&with_feeds(
            "{worse: {file: worse.netset}, bad: {file: bad.netset}, wide: {file: wide.netset}}",
        ));
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        assert_eq!(listed(&daemon, 1, "203.0.113.7"), Some(true), "at once, and by its number");
        let begin = std::time::Instant::now();
        while listed(&daemon, 0, "203.0.113.9").is_none() {
            assert!(begin.elapsed() < std::time::Duration::from_secs(20));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            daemon.tick();
        }
        assert_eq!(listed(&daemon, 0, "203.0.113.7"), Some(false));
        assert_eq!(listed(&daemon, 2, "203.0.113.7"), None, "refused");
        let warnings = daemon.feeds.status().warnings();
        assert!(warnings[0].contains("the feed wide is refused, it is not in use"), "{warnings:?}");
    });
}
