//! Made-up devices, threats, policies and zones, the same at every start.
//!
//! Names end in `.example` and addresses are those set aside for documentation (RFC 5737), so that
//! nothing here can be mistaken for anyone's network. Ids are UUIDs in lower case and with dashes.

use serde_json::{Value, json};

/// What a device's policy and zone refer to: id and name.
type Named = (&'static str, &'static str);

const POLICIES: [Named; 2] = [
    ("1d4f0a52-6a0c-4d0e-9b57-2c5d3d0a7e01", "Workstations"),
    ("1d4f0a52-6a0c-4d0e-9b57-2c5d3d0a7e02", "Servers"),
];

const ZONES: [Named; 2] = [
    ("77be1c34-0f2b-4a6d-8f59-90ab6b1f4c01", "Headquarters"),
    ("77be1c34-0f2b-4a6d-8f59-90ab6b1f4c02", "Branch"),
];

/// A machine that is watched: id, name, address, whether it is online, and the index of its policy.
const DEVICES: [(&str, &str, &str, bool, usize); 5] = [
    (
        "c0a81f22-51c6-4a52-a6a7-e1d2b0c3f101",
        "desk-1.corp.example",
        "192.0.2.31",
        true,
        0,
    ),
    (
        "c0a81f22-51c6-4a52-a6a7-e1d2b0c3f102",
        "desk-2.corp.example",
        "192.0.2.32",
        false,
        0,
    ),
    (
        "c0a81f22-51c6-4a52-a6a7-e1d2b0c3f103",
        "laptop-7.corp.example",
        "198.51.100.17",
        true,
        0,
    ),
    (
        "c0a81f22-51c6-4a52-a6a7-e1d2b0c3f104",
        "files.corp.example",
        "203.0.113.4",
        true,
        1,
    ),
    (
        "c0a81f22-51c6-4a52-a6a7-e1d2b0c3f105",
        "build.corp.example",
        "203.0.113.5",
        true,
        1,
    ),
];

/// Something bad that was found: name, the digit that its hash repeats, and its class.
const THREATS: [(&str, &str, &str); 3] = [
    ("invoice.pdf.exe", "a", "Trojan"),
    ("keygen.exe", "b", "PUP"),
    ("miner.dll", "c", "Malware"),
];

pub(super) fn devices() -> Vec<Value> {
    DEVICES
        .iter()
        .map(|(id, name, address, online, policy)| {
            json!({
                "id": id,
                "name": name,
                "state": if *online { "Online" } else { "Offline" },
                "ip_addresses": [address],
                "policy": named(&POLICIES[*policy]),
            })
        })
        .collect()
}

/// The device with this id, which is taken letter by letter.
pub(super) fn device(id: &str) -> Option<Value> {
    devices().into_iter().find(|device| device["id"] == id)
}

pub(super) fn threats() -> Vec<Value> {
    THREATS
        .iter()
        .map(|(name, digit, classification)| {
            json!({
                "name": name,
                "sha256": digit.repeat(64),
                "classification": classification,
            })
        })
        .collect()
}

pub(super) fn policies() -> Vec<Value> {
    POLICIES.iter().map(named).collect()
}

pub(super) fn zones() -> Vec<Value> {
    ZONES.iter().map(named).collect()
}

fn named((id, name): &Named) -> Value {
    json!({ "id": id, "name": name })
}
