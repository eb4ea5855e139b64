//! What operators' programs can send that no operator would.

use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::command::channel;

/// More than any answer to a request that changes nothing.
const LARGEST_ANSWER: usize = 64 << 10;

/// What comes back for these bytes, from a daemon whose loop has ended: everything before the loop is
/// there, and nothing is changed. Who `leaves` after the last byte need not be answered; who does not is
/// waited for, so that a request must be whole.
fn answer_to(bytes: &[u8], leaves: bool) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (commander, commands) = channel();
        drop(commands);
        let (mut here, there) = UnixStream::pair().unwrap();
        let talking =
            tokio::spawn(talk(there, Arc::new(Progress::new()), router(commander, Arc::default())));
        let mut answer = Vec::new();
        // It may end the conversation before it has heard all.
        let _ = here.write_all(bytes).await;
        if leaves {
            let _ = here.shutdown().await;
        }
        let mut bounded = (&mut here).take(LARGEST_ANSWER as u64 + 1);
        let read = bounded.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
        drop(here);
        talking.await.unwrap();
        answer
    })
}

fn judge(bytes: &[u8]) -> Result<(), TestCaseError> {
    let answer = answer_to(bytes, true);
    prop_assert!(answer.len() <= LARGEST_ANSWER);
    let is_http = answer.is_empty() || answer.starts_with(b"HTTP/1.");
    prop_assert!(is_http, "{}", String::from_utf8_lossy(&answer));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_of_any_kind_are_answered_shortly_or_cut_off(bytes in vec(any::<u8>(), 0..400)) {
        judge(&bytes)?;
    }

    #[test]
    fn requests_of_any_content_are_answered_shortly(
        method in "(GET|POST|PUT|DELETE|[A-Z]{1,12})",
        path in "(/v1/(status|ready|verdicts|decisions|explain|verdict|check/x|block|unblock)|/metrics|/[!-~]{0,40})",
        query in "(address=|decision=|limit=|for_s=|reason=|all=)?[!-~]{0,60}",
        name in "[a-z-]{1,20}",
        value in "[ -~]{0,60}",
        body in vec(any::<u8>(), 0..300),
    ) {
        let head = format!(
            "{method} {path}?{query} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n{name}: {value}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        judge(&[head.as_bytes(), &body].concat())?;
    }

    #[test]
    fn lists_of_any_content_change_nothing(body in vec(any::<u8>(), 1..2_000)) {
        let head = format!(
            "POST /v1/block?reason=x HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = answer_to(&[head.as_bytes(), &body].concat(), false);
        // Either a line is wrong, or the loop was asked, which is not there.
        let answer = String::from_utf8_lossy(&answer);
        prop_assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 503"), "{answer}");
        prop_assert!(answer.len() <= LARGEST_ANSWER);
    }
}

#[test]
fn one_user_cannot_take_the_places_of_others() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (commander, _commands) = channel();
        let open = || router(commander.clone(), Arc::default());
        let mut seats = Seats::default();
        let mut theirs = Vec::new();
        let mut sit = |seats: &mut Seats, uid| {
            let (here, there) = UnixStream::pair().unwrap();
            seats.take(uid, there, open());
            theirs.push(here);
        };
        sit(&mut seats, 0);
        for _ in 0..3 * SHARE {
            sit(&mut seats, 1_000);
        }
        assert_eq!((seats.of(0), seats.of(1_000)), (1, SHARE));
        // Many users: the place of a newcomer is one of those who have most.
        for uid in 2_000..2_000 + LIMITS.seats as u32 {
            sit(&mut seats, uid);
            assert_eq!(seats.of(uid), 1);
        }
        assert_eq!(seats.0.len(), LIMITS.seats);
        assert_eq!(seats.of(0), 1, "root keeps its place while others have more");
    });
}
