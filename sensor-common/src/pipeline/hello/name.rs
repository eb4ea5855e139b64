//! The service that a hello's server name stands for.

use crate::{
    abi::{
        Capture,
        control::SERVICE_NAMED,
        hello::{HELLO_ROOM, MAX_SUFFIXES},
    },
    pipeline::{Step, Tables, ingress::Ingress},
    tls::{
        Bytes,
        name::{MAX_NAME_LEN, NameHash},
    },
};

/// The service of a hello that was walked: by its exact name, else by its longest suffix, else by
/// having no name that is known, else the port's own.
#[inline(always)]
pub(super) fn service<T: Tables>(ingress: &Ingress<'_, T>, capture: &mut Capture) -> u8 {
    if ingress.service_flags & SERVICE_NAMED == 0 {
        return ingress.service;
    }
    refine(ingress, capture)
}

#[inline(never)]
fn refine<T: Tables>(ingress: &Ingress<'_, T>, capture: &mut Capture) -> u8 {
    let tables = ingress.tables;
    let nameless = NameHash::new(&tables.key_seed(), ingress.service);
    let mut length = capture.builder.name_len;
    // A final dot says that the name is complete, as it always is here; servers pass over it.
    if length > 1 && capture.bytes.byte(capture.builder.name_at + length - 1) == b'.' {
        length -= 1;
    }
    let is_named = length > 0 && length <= MAX_NAME_LEN;
    if is_named {
        capture.name_hash = nameless.key();
        capture.suffix_count = 0;
        capture.end = capture.builder.name_at;
        capture.at = capture.builder.name_at + length;
        tables.repeat(MAX_NAME_LEN, &mut Suffixes { capture });
        if let Some(service) = tables.named_service(capture.name_hash) {
            return service;
        }
        for behind in 1..=MAX_SUFFIXES as u32 {
            let index = capture.suffix_count.wrapping_sub(behind) as usize & (MAX_SUFFIXES - 1);
            let suffix = capture.suffixes.get(index).copied().unwrap_or(0);
            if behind <= capture.suffix_count
                && let Some(service) = tables.named_service(suffix)
            {
                return service;
            }
        }
    }
    if !is_named || capture.builder.may_hide_its_name() {
        return tables.named_service(nameless.key()).unwrap_or(ingress.service);
    }
    ingress.service
}

/// Hashes the name from its end, and notes the hash at each dot.
struct Suffixes<'a> {
    capture: &'a mut Capture,
}

impl Step for Suffixes<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Capture { bytes, at, end, name_hash, suffixes, suffix_count, .. } = &mut *self.capture;
        if *at <= *end {
            return false;
        }
        *at -= 1;
        let byte = <[u8; HELLO_ROOM] as Bytes>::byte(bytes, *at);
        *name_hash = NameHash::from_key(*name_hash).before(byte).key();
        if byte == b'.' && *suffix_count < MAX_SUFFIXES as u32 {
            if let Some(suffix) = suffixes.get_mut(*suffix_count as usize & (MAX_SUFFIXES - 1)) {
                *suffix = *name_hash;
            }
            *suffix_count += 1;
        }
        true
    }
}
