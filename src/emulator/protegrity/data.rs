//! Made-up data stores, policies and data elements, the same at every start, and what was added.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::emulator::lock;

/// A list that the policy management keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collection {
    DataStores,
    Policies,
    DataElements,
}

/// One that was added.
#[derive(Debug)]
struct Item {
    name: String,
    description: String,
}

impl Collection {
    /// The last segment of its path.
    pub(super) fn name(self) -> &'static str {
        match self {
            Collection::DataStores => "datastores",
            Collection::Policies => "policies",
            Collection::DataElements => "dataelements",
        }
    }

    fn made_up(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Collection::DataStores => &[
                ("warehouse", "Reporting, at warehouse.corp.example"),
                ("payments", "Card payments, at payments.corp.example"),
            ],
            Collection::Policies => &[
                ("customers", "Who may see whose name and address"),
                ("cards", "Card numbers, for payments alone"),
            ],
            Collection::DataElements => &[
                ("TE_NAME", "Names, tokenised letter by letter"),
                (
                    "TE_CCN",
                    "Card numbers, tokenised but for the last four digits",
                ),
                ("AES256_NOTES", "Free text, encrypted"),
            ],
        }
    }
}

/// What was added; it is gone with the emulator.
#[derive(Debug, Default)]
pub(super) struct Added(Mutex<Vec<(Collection, Item)>>);

impl Added {
    /// Everything in a collection, made up or added, numbered from 1.
    pub(super) fn list(&self, collection: Collection) -> Vec<Value> {
        list(&lock(&self.0), collection)
    }

    /// Adds what a JSON object describes; nothing where it has no name, or one that is taken.
    pub(super) fn add(&self, collection: Collection, item: &Value) -> Option<Value> {
        let name = item.get("name")?.as_str().filter(|name| !name.is_empty())?;
        let description = match item.get("description") {
            Some(description) => description.as_str()?,
            None => "",
        };
        let mut added = lock(&self.0);
        if list(&added, collection).iter().any(|it| it["name"] == name) {
            return None;
        }
        let item = Item {
            name: name.into(),
            description: description.into(),
        };
        added.push((collection, item));
        list(&added, collection).pop()
    }
}

fn list(added: &[(Collection, Item)], collection: Collection) -> Vec<Value> {
    let made_up = collection.made_up().iter().copied();
    let added = added
        .iter()
        .filter(|(of, _)| *of == collection)
        .map(|(_, item)| (item.name.as_str(), item.description.as_str()));
    (1_u64..)
        .zip(made_up.chain(added))
        .map(|(uid, (name, description))| {
            json!({ "uid": uid, "name": name, "description": description })
        })
        .collect()
}
