//! Made-up assets and vulnerabilities, the same at every start.
//!
//! Names end in `.example` and addresses are those set aside for documentation (RFC 5737), so that
//! nothing here can be mistaken for anyone's network.

use serde_json::{Value, json};

/// A machine that is watched.
pub(super) struct Asset {
    id: u64,
    hostname: &'static str,
    address: &'static str,
    system: &'static str,
}

/// Something wrong with one.
pub(super) struct Vulnerability {
    pub(super) id: u64,
    pub(super) asset_id: u64,
    pub(super) severity: &'static str,
    title: &'static str,
    port: u16,
}

/// What has been decided about a vulnerability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Open,
    Acknowledged,
    FalsePositive,
    Remediated,
}

impl Status {
    /// In the order of the variants.
    pub(super) const NAMES: [&'static str; 4] =
        ["open", "acknowledged", "false_positive", "remediated"];

    pub(super) fn parse(name: &str) -> Option<Self> {
        let all = [
            Status::Open,
            Status::Acknowledged,
            Status::FalsePositive,
            Status::Remediated,
        ];
        all.into_iter().find(|status| status.name() == name)
    }

    fn name(self) -> &'static str {
        let [open, acknowledged, false_positive, remediated] = Self::NAMES;
        match self {
            Status::Open => open,
            Status::Acknowledged => acknowledged,
            Status::FalsePositive => false_positive,
            Status::Remediated => remediated,
        }
    }
}

impl Asset {
    const fn new(
        id: u64,
        hostname: &'static str,
        address: &'static str,
        system: &'static str,
    ) -> Self {
        Asset {
            id,
            hostname,
            address,
            system,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "hostname": self.hostname,
            "ip_address": self.address,
            "operating_system": self.system,
        })
    }
}

impl Vulnerability {
    const fn new(
        id: u64,
        asset_id: u64,
        severity: &'static str,
        title: &'static str,
        port: u16,
    ) -> Self {
        Vulnerability {
            id,
            asset_id,
            severity,
            title,
            port,
        }
    }

    pub(super) fn to_json(&self, status: Status) -> Value {
        json!({
            "id": self.id,
            "asset_id": self.asset_id,
            "severity": self.severity,
            "title": self.title,
            "port": self.port,
            "status": status.name(),
        })
    }
}

/// The asset with this id.
pub(super) fn asset(id: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.id.to_string() == id)
}

/// The vulnerability with this id.
pub(super) fn vulnerability(id: &str) -> Option<&'static Vulnerability> {
    VULNERABILITIES.iter().find(|it| it.id.to_string() == id)
}

pub(super) static ASSETS: [Asset; 6] = [
    Asset::new(1001, "www.corp.example", "192.0.2.10", "Linux"),
    Asset::new(1002, "mail.corp.example", "192.0.2.25", "Linux"),
    Asset::new(1003, "files.corp.example", "198.51.100.7", "Windows Server"),
    Asset::new(1004, "ci.corp.example", "198.51.100.40", "Linux"),
    Asset::new(1005, "printer-2.corp.example", "203.0.113.90", "Embedded"),
    Asset::new(1006, "vpn.corp.example", "203.0.113.1", "FreeBSD"),
];

pub(super) static VULNERABILITIES: [Vulnerability; 12] = [
    Vulnerability::new(
        5001,
        1001,
        "medium",
        "Certificate expires within two weeks",
        443,
    ),
    Vulnerability::new(5002, 1001, "low", "Server banner names its version", 443),
    Vulnerability::new(5003, 1001, "high", "Directory listing shows backups", 8080),
    Vulnerability::new(
        5004,
        1002,
        "medium",
        "STARTTLS is offered but not required",
        25,
    ),
    Vulnerability::new(5005, 1002, "low", "VRFY tells which mailboxes exist", 25),
    Vulnerability::new(5006, 1003, "critical", "File sharing accepts guests", 445),
    Vulnerability::new(5007, 1003, "high", "Message signing is not required", 445),
    Vulnerability::new(
        5008,
        1004,
        "critical",
        "Build console has no password",
        8081,
    ),
    Vulnerability::new(5009, 1004, "medium", "Debugging port is reachable", 5005),
    Vulnerability::new(5010, 1005, "high", "Default password of the maker", 80),
    Vulnerability::new(5011, 1005, "low", "Answers to SNMP community public", 161),
    Vulnerability::new(5012, 1006, "medium", "TLS 1.0 is still offered", 443),
];
