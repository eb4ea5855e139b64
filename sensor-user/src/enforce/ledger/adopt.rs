//! Takes up what an earlier run left in the kernel: nothing of it is dropped meanwhile, and nothing
//! is forgotten.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::{Mode, Verdict, VerdictClass, time};

use super::{ClassRecord, Entry, Ledger, Meaning, Memo, Origin, Written, table::Key};
use crate::enforce::{
    dataplane::{Dataplane, DataplaneError},
    guard::Guards,
};

impl Ledger {
    /// Takes up what an earlier run left in the kernel. [`Self::apply`] then removes what ended
    /// meanwhile.
    ///
    /// # Errors
    /// If the kernel's tables cannot be read.
    pub fn adopt(
        dataplane: &dyn Dataplane,
        memo: Option<Memo>,
        guards: Guards,
        now_ns: u64,
    ) -> Result<Self, DataplaneError> {
        let mut ledger = Self::new(guards);
        let classes = dataplane.read_classes()?;
        let verdicts = dataplane.read_verdicts()?;
        let memo = memo.unwrap_or_else(|| Memo::empty("", Vec::new()));
        ledger.classes.restore_rules(memo.rules);
        ledger.adopt_classes(&classes, &memo.classes);
        let mut kept: HashMap<Key, Vec<Entry>> = HashMap::new();
        for record in &memo.unwritten {
            kept.entry(record.prefix.into()).or_default().push(record.entry());
        }
        for (net, verdict) in &verdicts {
            ledger.adopt_verdict(*net, verdict, &mut kept, now_ns);
        }
        for (key, entries) in kept {
            for entry in entries {
                ledger.insert(key, entry);
            }
        }
        ledger.adopt_subjects(dataplane, memo.fingerprints, now_ns)?;
        ledger.sweep(now_ns);
        Ok(ledger)
    }

    fn adopt_classes(&mut self, found: &[(u16, VerdictClass)], known: &[ClassRecord]) {
        let known: HashMap<u16, &Arc<Meaning>> =
            known.iter().map(|record| (record.id, &record.meaning)).collect();
        for (id, class) in found {
            // The table is believed only where the kernel does what it says.
            let meaning = known.get(id).map(|meaning| Arc::clone(meaning));
            let meaning = meaning
                .filter(|meaning| self.classes.kernel_class(meaning) == *class)
                .unwrap_or_else(|| Arc::new(Meaning::found(class)));
            self.classes.restore(*id, &meaning);
        }
    }

    fn adopt_verdict(
        &mut self,
        net: IpNet,
        verdict: &Verdict,
        kept: &mut HashMap<Key, Vec<Entry>>,
        now_ns: u64,
    ) {
        let key = Key::from(net);
        let written = Written { class: verdict.class, expires_tick: verdict.expires_tick };
        self.classes.retain(verdict.class);
        self.slots.entry(key).written = Some(written);
        self.due.push(key);
        if let Some(entries) = kept.remove(&key) {
            for entry in entries {
                self.insert(key, entry);
            }
            return;
        }
        let Some(meaning) = self.classes.meaning(verdict.class).map(Arc::clone) else { return };
        // A class without a mode does nothing, and this host's own addresses are known anew.
        if meaning.mode == Mode::Off || meaning.origin == Origin::Guard {
            return;
        }
        let expires_ns =
            (verdict.expires_tick != 0).then(|| time::tick_start_ns(verdict.expires_tick));
        self.insert(key, Entry { meaning, created_ns: now_ns, expires_ns });
    }
}
