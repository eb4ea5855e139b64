//! Keys are replaced: by time, and when somebody says so. The journal says when.

use super::{
    Actor, AddressForm, Arc, Desk, KeyError, Kind, PseudonymKeys, Record, Sign, SigningKey,
    StoreError, hex, impersonal, json, now_s,
};

/// What replacing a key led to.
pub(super) type Rotated = Box<dyn FnOnce(Result<String, String>) + Send>;

impl Desk {
    /// Replaces keys of pseudonyms whose time is over, and deletes those that nobody needs any more.
    pub(super) fn renew_pseudonyms(&mut self, now_s: u64) {
        let Some(keys) = &mut self.pseudonyms else { return };
        let seconds = |ns: u64| ns / 1_000_000_000;
        let keep_s = seconds(self.privacy.keep_keys_ns);
        let is_due = keys.is_older_than(now_s, seconds(self.privacy.key_rotation_ns));
        let rotated = if is_due { keys.rotate(now_s).map(Some) } else { Ok(None) };
        let changed = rotated.and_then(|new| Ok((new, keys.prune(now_s, keep_s)?)));
        match changed {
            Ok((None, gone)) if gone.is_empty() => {}
            Ok((new, gone)) => {
                let body = json!({"key": "pseudonyms", "new": new, "deleted": gone});
                self.note(&Record::new(Kind::Key, &Actor::Daemon, body));
            }
            Err(error) => tracing::error!("the key of pseudonyms is not replaced: {error}"),
        }
    }

    /// Uses a new key of pseudonyms from now on; its number.
    ///
    /// # Errors
    /// If it cannot be kept, or pseudonyms are not used.
    pub fn rotate_pseudonyms(&mut self, actor: &Actor) -> Result<u32, String> {
        if self.privacy.addresses != AddressForm::Pseudonymise {
            return Err("the policy's `privacy` does not say `addresses: pseudonymise`: there is \
                        no key of pseudonyms in use"
                .into());
        }
        let keys = self.pseudonyms.as_mut().ok_or_else(|| {
            self.pseudonym_trouble.clone().unwrap_or_else(|| "there is no key".into())
        })?;
        let new = keys.rotate(now_s()).map_err(|error: KeyError| error.to_string())?;
        let body = json!({"key": "pseudonyms", "new": new, "deleted": []});
        self.note(&Record::new(Kind::Key, actor, body));
        Ok(new)
    }

    /// Signs with a new key from now on. The one before signs the record that says so; `then` is told
    /// the public half of the new one when that is on disk.
    pub fn rotate_signature(&mut self, actor: &Actor, then: Rotated) {
        let old = self.shared.key();
        let new = match SigningKey::make(&self.places.signature_key) {
            Ok(new) => new,
            Err(error) => return then(Err(error.to_string())),
        };
        let public = hex(&new.public());
        let old = old.map(|key| hex(&key.public()));
        let body = json!({"key": "signature", "old": old, "new": public});
        let record = impersonal(&Record::new(Kind::Key, actor, body));
        self.flush();
        let shared = Arc::clone(&self.shared);
        let ack = move |became: Result<(), StoreError>| {
            let done = became.map_err(|error| error.to_string()).and_then(|()| {
                let key = new.put_into_place().map_err(|error| error.to_string())?;
                shared.set_key(key);
                Ok(public)
            });
            then(done);
        };
        self.submit(vec![record], Sign::Now, Some(Box::new(ack)));
    }

    /// The keys of pseudonyms as they are on disk, to look for somebody with.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn all_pseudonym_keys(&self) -> Result<PseudonymKeys, KeyError> {
        PseudonymKeys::read(&self.places.pseudonym_keys)
    }
}
