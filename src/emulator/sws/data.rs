//! Made-up sessions and what belongs to them, the same at every start.
//!
//! Names and addresses end in `.example`, so that nothing here can be mistaken for anyone's. Ids
//! are 32 hexadecimal digits.

use serde_json::{Value, json};

/// A session of someone in a web application: id, user, application, and when it began.
const SESSIONS: [(&str, &str, &str, i64); 3] = [
    (
        "11ee0a10c0de4a5f8b0000000000a001",
        "dana@corp.example",
        "https://crm.corp.example",
        1_699_990_000,
    ),
    (
        "11ee0a10c0de4a5f8b0000000000a002",
        "sam@corp.example",
        "https://cloud.corp.example",
        1_699_993_600,
    ),
    (
        "11ee0a10c0de4a5f8b0000000000a003",
        "dana@corp.example",
        "https://payroll.corp.example",
        1_699_997_200,
    ),
];

pub(super) fn sessions() -> Vec<Value> {
    SESSIONS
        .iter()
        .map(|(id, user, application, began)| {
            json!({ "id": id, "user": user, "application": application, "startTime": began })
        })
        .collect()
}

pub(super) fn session(id: &str) -> Option<Value> {
    sessions().into_iter().find(|session| session["id"] == id)
}

pub(super) fn recordings() -> Vec<Value> {
    SESSIONS
        .iter()
        .map(|(id, user, _, _)| json!({ "id": recording_id(id), "sessionId": id, "user": user }))
        .collect()
}

pub(super) fn recording(id: &str) -> Option<Value> {
    recordings()
        .into_iter()
        .find(|recording| recording["id"] == id)
}

/// A recording has its session's id, with another letter in it.
fn recording_id(session: &str) -> String {
    session.replace('a', "b")
}

pub(super) fn steps() -> Vec<Value> {
    ["opened a page", "filled in a form", "downloaded a file"]
        .iter()
        .enumerate()
        .map(|(number, what)| json!({ "number": number, "description": what }))
        .collect()
}

pub(super) fn policies() -> Vec<Value> {
    vec![
        json!({ "id": "11ee0a10c0de4a5f8b0000000000c001", "name": "Record everything" }),
        json!({ "id": "11ee0a10c0de4a5f8b0000000000c002", "name": "Ask again after a pause" }),
    ]
}

pub(super) fn users() -> Vec<Value> {
    vec![
        json!({ "id": "11ee0a10c0de4a5f8b0000000000d001", "name": "dana@corp.example" }),
        json!({ "id": "11ee0a10c0de4a5f8b0000000000d002", "name": "sam@corp.example" }),
    ]
}

pub(super) fn activities() -> Vec<Value> {
    SESSIONS
        .iter()
        .map(|(id, user, _, began)| {
            json!({ "time": began, "user": user, "action": "session-started", "sessionId": id })
        })
        .collect()
}
