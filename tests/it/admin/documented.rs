//! `docs/metrics.md` against the page that it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::{page, proxy_to};
use crate::support::{Upstream, get};

/// Of each family its type, its meaning and its labels.
type Families = BTreeMap<String, (String, String, BTreeSet<String>)>;

fn documented() -> Families {
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter_map(|line| {
        let row = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, kind, labels, meaning] = cells[..] else {
            return None;
        };
        let labels = labels.split('`').skip(1).step_by(2);
        let labels = labels.map(str::to_owned).collect();
        let name = name.trim_end_matches('`').to_owned();
        Some((name, (kind.to_owned(), meaning.to_owned(), labels)))
    });
    rows.collect()
}

fn served(text: &str) -> Families {
    let mut families = Families::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, meaning) = help.split_once(' ').expect("a meaning");
            last = name.to_owned();
            let family = (String::new(), meaning.to_owned(), BTreeSet::new());
            families.insert(last.clone(), family);
            continue;
        }
        let family = families.get_mut(&last).expect("its help comes first");
        if let Some(kind) = line.strip_prefix(&format!("# TYPE {last} ")) {
            family.0 = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            // What stands in front of each `="`.
            let names = labels
                .split("=\"")
                .filter_map(|it| it.rsplit([',', '"']).next());
            let names = names.filter(|it| !it.contains('}'));
            family.2.extend(names.map(str::to_owned));
        }
    }
    families
}

#[test]
fn every_metric_is_documented_as_it_is_served() {
    let upstream = Upstream::saying("");
    let (proxy, _folder) = proxy_to(&upstream);
    get(proxy.address, "/acme");
    get(proxy.address, "/nowhere");
    let (documented, served) = (documented(), served(&page(&proxy, "/metrics").text()));
    let names = |families: &Families| families.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&documented), names(&served));
    for (name, (kind, meaning, labels)) in served {
        let row = &documented[&name];
        assert_eq!((&row.0, &row.1), (&kind, &meaning), "{name}");
        // A variant of a credential has one label more, and a certificate may be nowhere.
        let has_samples = !labels.is_empty() || row.2.is_empty();
        let known = row.2.iter().filter(|it| *it != "with").cloned();
        if has_samples {
            assert_eq!(known.collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
}
