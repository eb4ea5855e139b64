//! Whether all is as it should be, and the figures that say so.

use super::*;
use crate::{api::message::Cause, export::metrics};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

#[test]
fn nothing_is_wrong_until_the_kill_switch_is_on_and_an_interface_gone() {
    Site::run("ready", twin(), |_, daemon| {
        assert_eq!(daemon.readiness().reasons, []);
        daemon.reload_error = Some("line 3".into());
        let readiness = daemon.readiness();
        assert!(readiness.ready, "the policy before works: {readiness:?}");
        assert_eq!(readiness.reasons[0].name, Cause::PolicyRefused);

        crate::daemon::sensor::Sensor::set_kill(&mut daemon.sensor, true).unwrap();
        daemon.attachments[0].index += 1;
        let readiness = daemon.readiness();
        assert!(!readiness.ready);
        let names: Vec<Cause> = readiness.reasons.iter().map(|reason| reason.name).collect();
        assert_eq!(names, [Cause::InterfaceGone, Cause::KillSwitch, Cause::PolicyRefused]);
    });
}

#[test]
fn the_page_of_metrics_holds_together_and_names_no_client() {
    let site = Site::new("metrics");
    runtime().block_on(async {
        let (mut daemon, streams, _doors) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        let page = daemon.metrics(&streams).unwrap();
        assert!(page.ends_with("# EOF\n"), "{page}");
        assert!(page.contains("\nweir_ready 1\n"), "{page}");
        assert!(page.contains("\nweir_events_total{kind=\"established\"} 25\n"), "{page}");
        assert!(page.contains("weir_readiness_reason{reason=\"kill-switch\"} 0"));
        assert!(page.contains("weir_verdicts{action=\"drop\",mode=\"enforce\",origin=\"rule\"} 1"));
        assert!(!page.contains("192.0.2"), "{page}");
        let mut names: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name is there twice");
    });
}

#[test]
fn the_documentation_lists_every_metric() {
    let site = Site::new("metrics-page");
    runtime().block_on(async {
        let (daemon, streams, _doors) = site.prepare(twin()).unwrap();
        let rows = metrics::rows(&daemon.status(&streams).unwrap());
        let page = fs::read_to_string(PAGE).unwrap();
        let (head, rest) = page.split_once("| --- | --- | --- | --- |\n").unwrap();
        let tail = rest.find("\n\n").map_or("", |end| &rest[end + 1..]);
        let wanted = format!("{head}| --- | --- | --- | --- |\n{rows}{tail}");
        if std::env::var_os("WEIR_BLESS").is_some() {
            fs::write(PAGE, wanted).unwrap();
        } else {
            assert!(page == wanted, "docs/metrics.md is old: run the tests once with WEIR_BLESS=1");
        }
    });
}
