//! What proxies are told, and what `weir explain` says.

use weir_common::abi::Action;

use super::{POLICY, Site, action, block, connections, twin};
use crate::{
    api::message::{ExplainQuery, OperatorAction},
    daemon::{Daemon, twin::Twin},
    event::{Event, Signal},
    system::{address, clock},
};

/// Marks from twenty connections in ten seconds on, and trusts who passed a challenge.
fn challenging() -> String {
    let marks = POLICY.replace("at: 50, action: drop", "at: 50, action: mark");
    format!(
        "{marks}  - {{name: passed, points: -40, when: source.challenge_passed_1h >= 1}}\n  \
         - {{name: rapid, points: 10, when: source.connections_1s >= 1000}}\n"
    )
}

/// A signal about a client, of a built-in kind.
fn signal(client: &str, kind: u16) -> [Event; 1] {
    [Event::Signal(Signal {
        at_ns: clock::monotonic_ns(),
        client: address::words(client.parse().unwrap()),
        service: 1,
        kind,
        ..Signal::default()
    })]
}

fn told(daemon: &Daemon<Twin>, client: &str) -> Option<(Action, Option<String>)> {
    let now_ns = clock::monotonic_ns();
    let found = daemon.lookup.board().find(client.parse().unwrap(), Some(1), now_ns).enforced?;
    Some((found.meaning.action, found.decided.map(|decided| decided.id.to_string())))
}

#[test]
fn a_passed_challenge_takes_the_mark_back_and_a_failed_one_does_not() {
    let mut site = Site::new("challenge");
    site.write_policy(&challenging());
    super::runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        for client in ["192.0.2.7", "192.0.2.8"] {
            daemon.handle(&connections(client, 25));
            let id = daemon.history.newest(Some(1)).decisions[0].record.id.clone();
            assert_eq!(told(&daemon, client), Some((Action::Mark, Some(id))), "told at once");
        }
        daemon.handle(&signal("192.0.2.7", 1));
        assert_eq!(told(&daemon, "192.0.2.7").unwrap().0, Action::Mark, "failed");
        daemon.handle(&signal("192.0.2.7", 0));
        assert_eq!(told(&daemon, "192.0.2.7"), None);
        assert_eq!(action(&daemon, "192.0.2.7", 1), None, "and the kernel marks it no more");
        assert_eq!(told(&daemon, "192.0.2.8").unwrap().0, Action::Mark, "somebody else's stays");
        daemon.handle(&connections("192.0.2.7", 5));
        assert_eq!(told(&daemon, "192.0.2.7"), None, "it is trusted");
    });
    site.plan.interfaces.clear();
}

#[test]
fn an_operators_mark_and_what_is_stronger_keep_their_term() {
    let site = Site::new("keeps");
    let drops = challenging().replace("action: mark", "action: drop");
    site.write_policy(&drops);
    super::runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        let mark = block(&["192.0.2.8/32"], OperatorAction::Mark);
        super::ask(&mut daemon, mark).unwrap();
        daemon.post();
        daemon.handle(&signal("192.0.2.7", 0));
        daemon.handle(&signal("192.0.2.8", 0));
        assert_eq!(told(&daemon, "192.0.2.7").unwrap().0, Action::Drop);
        assert_eq!(told(&daemon, "192.0.2.8").unwrap(), (Action::Mark, None));
    });
}

#[test]
fn an_explanation_says_what_counts_what_is_missing_and_what_would_change_it() {
    let site = Site::new("explain");
    site.write_policy(&challenging());
    super::runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        let address = Some("192.0.2.7".parse().unwrap());
        let explained = daemon.explain(&ExplainQuery { address, decision: None }).unwrap();
        assert_eq!(explained.source, "192.0.2.7");
        let [policy] = &explained.policies[..] else { panic!("{:?}", explained.policies) };
        assert_eq!((policy.score, policy.action.as_str()), (60, "mark"));
        assert_eq!(policy.factors.iter().map(|factor| factor.points).sum::<i32>(), 60);
        let unmet: Vec<(&str, i32)> =
            policy.unmet.iter().map(|rule| (rule.rule.as_str(), rule.points)).collect();
        assert_eq!(unmet, [("passed", -40), ("rapid", 10)]);
        let otherwise = policy.otherwise.join("\n");
        assert!(otherwise.contains("without hammering the score would be 0"), "{otherwise}");
        let seen = explained.seen.iter().find(|seen| seen.feature == "source.connections_10s");
        assert_eq!(seen.map(|seen| seen.value), Some(25.0));
        assert_eq!(explained.verdicts.len(), 1);

        // The same by the decision's id, which is what proxies are told.
        let id = explained.decisions[0].record.id.clone();
        let query = ExplainQuery { address: None, decision: Some(id.clone()) };
        let by_id = daemon.explain(&query).unwrap();
        assert_eq!(by_id.decision.unwrap().record.id, id);
        assert_eq!(by_id.policies, explained.policies);

        let nobody = ExplainQuery { address: None, decision: Some("0".into()) };
        assert!(daemon.explain(&nobody).unwrap_err().message.contains("weir decisions"));
        assert!(daemon.explain(&ExplainQuery::default()).is_err());
    });
}
