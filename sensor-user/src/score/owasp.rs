//! The threats that rules and decisions name: OWASP's Automated Threats to Web Applications
//! (Handbook, version 1.2) and its API Security Top 10 (2023).
//!
//! Names are OWASP's, definitions our own: one line on what the threat does.

use serde::Serialize;

/// A threat as rules name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Threat {
    /// `OAT-008`, `API2:2023`.
    pub id: &'static str,
    /// OWASP's name of it.
    pub name: &'static str,
    /// What it does, in a line.
    pub definition: &'static str,
}

const fn threat(id: &'static str, name: &'static str, definition: &'static str) -> Threat {
    Threat { id, name, definition }
}

/// Every threat: the automated ones by number, then those of APIs.
pub const THREATS: &[Threat] = &[
    threat("OAT-001", "Carding", "tries many stolen cards to find those that can be charged"),
    threat("OAT-002", "Token Cracking", "guesses coupon, voucher and discount codes"),
    threat("OAT-003", "Ad Fraud", "fakes views of and clicks on advertisements"),
    threat("OAT-004", "Fingerprinting", "asks for what tells which software runs here"),
    threat("OAT-005", "Scalping", "buys up scarce goods faster than people can"),
    threat("OAT-006", "Expediting", "hurries through a process to get ahead of others"),
    threat("OAT-007", "Credential Cracking", "guesses names and passwords of accounts"),
    threat("OAT-008", "Credential Stuffing", "tries logins that were stolen elsewhere"),
    threat("OAT-009", "CAPTCHA Defeat", "solves by machine the tests that tell people apart"),
    threat("OAT-010", "Card Cracking", "guesses the missing data of stolen cards"),
    threat("OAT-011", "Scraping", "collects content in bulk for use elsewhere"),
    threat("OAT-012", "Cashing Out", "turns stolen accounts and cards into money or goods"),
    threat("OAT-013", "Sniping", "acts in the last moment, so that nobody can answer"),
    threat("OAT-014", "Vulnerability Scanning", "crawls and probes for weaknesses"),
    threat("OAT-015", "Denial of Service", "uses up resources so that others get none"),
    threat("OAT-016", "Skewing", "repeats visits or requests to falsify a figure"),
    threat("OAT-017", "Spamming", "puts unwanted or harmful content where others see it"),
    threat("OAT-018", "Footprinting", "probes to learn what there is: hosts, ports, endpoints"),
    threat("OAT-019", "Account Creation", "opens accounts in bulk for later misuse"),
    threat("OAT-020", "Account Aggregation", "gathers many people's accounts in one place"),
    threat("OAT-021", "Denial of Inventory", "holds goods in carts without ever buying them"),
    threat(
        "API1:2023",
        "Broken Object Level Authorization",
        "reads or changes objects of others by trying their ids",
    ),
    threat(
        "API2:2023",
        "Broken Authentication",
        "gets in because logins, tokens or keys can be guessed, stolen or tried without end",
    ),
    threat(
        "API3:2023",
        "Broken Object Property Level Authorization",
        "reads or sets fields of an object that are none of the caller's business",
    ),
    threat(
        "API4:2023",
        "Unrestricted Resource Consumption",
        "makes the service spend time, memory or money without a limit",
    ),
    threat(
        "API5:2023",
        "Broken Function Level Authorization",
        "calls functions that are meant for others, such as administrators",
    ),
    threat(
        "API6:2023",
        "Unrestricted Access to Sensitive Business Flows",
        "runs a flow (buying, booking, posting) by machine and at a scale that harms",
    ),
    threat(
        "API7:2023",
        "Server Side Request Forgery",
        "has the service fetch an address that the caller chose",
    ),
    threat(
        "API8:2023",
        "Security Misconfiguration",
        "uses defaults, open settings and details that errors give away",
    ),
    threat(
        "API9:2023",
        "Improper Inventory Management",
        "finds old versions and forgotten hosts that nobody looks after",
    ),
    threat(
        "API10:2023",
        "Unsafe Consumption of APIs",
        "comes in through what the service believes of other services",
    ),
];

/// The threat of an id, written exactly like it.
#[must_use]
pub fn find(id: &str) -> Option<&'static Threat> {
    THREATS.iter().find(|threat| threat.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_once_and_in_order() {
        let automated = (1..=21).map(|n| format!("OAT-{n:03}"));
        let expected: Vec<String> =
            automated.chain((1..=10).map(|n| format!("API{n}:2023"))).collect();
        let ids: Vec<&str> = THREATS.iter().map(|threat| threat.id).collect();
        assert_eq!(ids, expected);
        for threat in THREATS {
            assert!(!threat.name.is_empty() && !threat.definition.is_empty(), "{threat:?}");
            assert_eq!(find(threat.id), Some(threat));
        }
        for unknown in ["OAT-022", "OAT-8", "API2", "API11:2023", "API2:2019", "oat-008", ""] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_page_on_policies_lists_every_threat_as_it_is() {
        let page = include_str!("../../../docs/policy.md");
        for Threat { id, name, definition } in THREATS {
            let row = format!("\n| {id} | {name} | {definition} |\n");
            assert!(page.contains(&row), "{row} is not on the page");
        }
    }
}
