//! What a compiled policy means for the kernel's tables of settings.

use weir_common::abi::{Control, Guard, Mode, control::DEFAULT_MARK, time};

use super::CompiledPolicy;
use crate::enforce::dataplane::{ServiceName, ServicePort};

impl CompiledPolicy {
    /// The table of protected ports.
    #[must_use]
    pub fn service_ports(&self) -> Vec<ServicePort> {
        self.services.port_table()
    }

    /// The table of names that refine the services of ports.
    #[must_use]
    pub fn service_names(&self) -> Vec<ServiceName> {
        self.services.name_table()
    }

    /// The SYN guard of every service number, so that guards of services that went are cleared.
    #[must_use]
    pub fn guards(&self) -> Vec<(u8, Guard)> {
        (1..=u8::MAX)
            .map(|id| {
                let service = self.services.iter().find(|service| service.id == id);
                let guard = service.and_then(|service| service.syn_guard).map_or_else(
                    Guard::default,
                    |rate| Guard {
                        interval_ns: rate.interval_ns,
                        burst_ns: rate.burst_ns,
                        ..Guard::default()
                    },
                );
                (id, guard)
            })
            .collect()
    }

    /// The kernel's settings; `generation` and `seed` are the data plane's own.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            policy_mode: self.settings.mode as u8,
            breaker_mode: Mode::Enforce as u8,
            stall_ns: self.settings.stall_ns,
            heartbeat_limit_ticks: self.settings.heartbeat_ns.map_or(0, time::tick_ceil),
            lane_interval_ns: self.settings.lane.interval_ns,
            lane_burst_ns: self.settings.lane.burst_ns,
            mark: DEFAULT_MARK,
            ..Control::default()
        }
    }
}
