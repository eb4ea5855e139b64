//! Takes up what an earlier run left: what the store kept is wanted, and what the kernel has beyond
//! it is kept too, unless it was lifted. Nothing is dropped meanwhile, and nothing is forgotten.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ipnet::IpNet;
use weir_common::abi::{Mode, Verdict, VerdictClass, time};

use super::{
    ClassRecord, Entry, Ledger, Meaning, Origin, Written,
    durable::{Kept, net_bytes},
    table::Key,
};
use crate::enforce::{
    dataplane::{Dataplane, DataplaneError},
    guard::Guards,
};

impl Ledger {
    /// Takes up what an earlier run left in the store and in the kernel; see
    /// [`durable`](super::durable) for which of them counts. `kept` is in the time of this boot;
    /// `None` if the store cannot be read, and then what the kernel has is all there is.
    /// [`Self::apply`] tells the kernel the rest.
    ///
    /// # Errors
    /// If the kernel's tables cannot be read.
    pub fn adopt(
        dataplane: &dyn Dataplane,
        kept: Option<Kept>,
        guards: Guards,
        now_ns: u64,
    ) -> Result<Self, DataplaneError> {
        let mut ledger = Self::new(guards.clone());
        let classes = dataplane.read_classes()?;
        let verdicts = dataplane.read_verdicts()?;
        let kept = kept.unwrap_or_default();
        ledger.classes.restore_rules(kept.rules);
        ledger.adopt_classes(&classes, &kept.classes);
        for (net, entry) in kept.entries {
            ledger.insert(net.into(), entry);
        }
        ledger.restore_fingerprints(dataplane, &kept.fingerprints);
        // So far, the store knows all of it; what ended, it still has.
        ledger.unkept.forget();
        ledger.note_ended(&kept.ended, &kept.ended_names);
        let ended = kept.ended.iter().map(net_bytes);
        let gone: HashSet<Vec<u8>> = kept.lifted.iter().cloned().chain(ended).collect();
        for (net, verdict) in &verdicts {
            ledger.adopt_verdict(*net, verdict, &gone, now_ns);
        }
        ledger.adopt_subjects(dataplane, &kept.lifted, now_ns)?;
        ledger.unkept.has_lifted(kept.lifted);
        // What was kept against somebody who is guarded by now ends.
        ledger.set_guards(guards, now_ns);
        ledger.sweep(now_ns);
        Ok(ledger)
    }

    fn adopt_classes(&mut self, found: &[(u16, VerdictClass)], known: &[ClassRecord]) {
        let known: HashMap<u16, &Arc<Meaning>> =
            known.iter().map(|record| (record.id, &record.meaning)).collect();
        for (id, class) in found {
            // The table is believed only where the kernel does what it says.
            let meaning = known.get(id).map(|meaning| Arc::clone(meaning));
            let meaning = meaning.filter(|meaning| self.classes.kernel_class(meaning) == *class);
            let is_told = meaning.is_some();
            let meaning = meaning.unwrap_or_else(|| Arc::new(Meaning::found(class)));
            self.classes.restore(*id, &meaning, is_told);
        }
        let highest = found.iter().map(|(_, class)| class.rule).max();
        self.classes.reserve_rules(highest.unwrap_or_default());
    }

    fn adopt_verdict(
        &mut self,
        net: IpNet,
        verdict: &Verdict,
        gone: &HashSet<Vec<u8>>,
        now_ns: u64,
    ) {
        let key = Key::from(net);
        let written = Written { class: verdict.class, expires_tick: verdict.expires_tick };
        self.classes.retain(verdict.class);
        let slot = self.slots.entry(key);
        slot.written = Some(written);
        // This host's own addresses and proxies are known anew; they are in no store.
        let is_kept = slot.own.iter().any(|entry| entry.meaning.origin != Origin::Guard);
        self.due.push(key);
        if is_kept || gone.contains(&net_bytes(&net)) || self.guards.protects(&net).is_some() {
            return;
        }
        let Some(meaning) = self.classes.meaning(verdict.class).map(Arc::clone) else { return };
        // A class without a mode does nothing.
        if meaning.mode == Mode::Off || meaning.origin == Origin::Guard {
            return;
        }
        let expires_ns =
            (verdict.expires_tick != 0).then(|| time::tick_start_ns(verdict.expires_tick));
        self.insert(key, Entry { meaning, created_ns: now_ns, expires_ns });
    }
}
