//! Who is and was here.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What the server knows of one client address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Visitor {
    /// Connections accepted so far.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// ClientHellos read so far.
    pub hellos: u64,
    /// TLS sessions taken up again so far.
    pub resumed: u64,
    /// Whole requests read so far.
    pub requests: u64,
}

/// Every client address that ever connected.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    table: Mutex<BTreeMap<IpAddr, Visitor>>,
}

impl Visitors {
    /// Notes a new connection, until the result is dropped.
    pub(super) fn arrive(self: &Arc<Self>, address: IpAddr) -> Visit {
        let address = address.to_canonical();
        self.change(address, |visitor| {
            visitor.connections += 1;
            visitor.open += 1;
        });
        Visit { visitors: Arc::clone(self), address }
    }

    /// What is known of one address.
    pub(super) fn of(&self, address: IpAddr) -> Visitor {
        self.lock().get(&address).copied().unwrap_or_default()
    }

    /// What is known of all.
    pub(super) fn all(&self) -> Vec<(IpAddr, Visitor)> {
        self.lock().iter().map(|(address, visitor)| (*address, *visitor)).collect()
    }

    fn change(&self, address: IpAddr, change: impl FnOnce(&mut Visitor)) {
        change(self.lock().entry(address).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Visitor>> {
        // Counters are whole after every change, so a panic elsewhere spoils nothing.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Visit {
    visitors: Arc<Visitors>,
    address: IpAddr,
}

impl Visit {
    /// The same connection, as a proxy's client's: the proxy's own ends.
    pub(super) fn of(self, client: IpAddr) -> Self {
        self.visitors.arrive(client)
    }

    /// Notes a ClientHello.
    pub(super) fn greeted(&self) {
        self.visitors.change(self.address, |visitor| visitor.hellos += 1);
    }

    /// Notes that a session was taken up again.
    pub(super) fn resumed(&self) {
        self.visitors.change(self.address, |visitor| visitor.resumed += 1);
    }

    /// Notes a whole request.
    pub(super) fn asked(&self) {
        self.visitors.change(self.address, |visitor| visitor.requests += 1);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.change(self.address, |visitor| visitor.open -= 1);
    }
}
