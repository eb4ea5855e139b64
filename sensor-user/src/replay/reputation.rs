//! What is known of addresses in a replay: what the policy's own files say. Nobody is asked.

use std::sync::Arc;

use crate::{
    policy::CompiledPolicy,
    reputation::Snapshot,
    score::{Clock, Engine},
};

/// An engine that knows nobody yet, and what files say. What is wrong with them was said when the
/// policy was read.
pub(super) fn engine(policy: Arc<CompiledPolicy>, clock: Clock) -> Engine {
    let (known, _) = Snapshot::of_files(&policy.reputation);
    let mut engine = Engine::new(policy, clock);
    engine.set_reputation(Arc::new(known));
    engine
}
