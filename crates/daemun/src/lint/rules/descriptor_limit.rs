//! More `worker_connections` than descriptors.

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "descriptor-limit",
    explanation: "a connection takes a descriptor, and a file that is sent another: without them clients wait or are \
                  dropped; worker_rlimit_nofile raises the limit",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let limit = site.settings.worker_rlimit_nofile.unwrap_or(site.descriptors);
    let connections = site.settings.events.worker_connections as u64;
    let events = site.outline.blocks("events");
    let word = events.flat_map(|scope| scope.all("worker_connections")).last();
    let Some(word) = word.and_then(|directive| directive.args.first()) else {
        return Vec::new();
    };
    if connections <= limit {
        return Vec::new();
    }
    let message = format!("{connections} connections, and {limit} descriptors for them");
    let effect = format!("waits, or costs another client its connection, while {limit} are open");
    let example = Example::of(site.outline.main(), "/").shows(effect);
    vec![Finding { message, span: word.span, example }]
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn every_connection_has_a_descriptor() {
        let text = |connections: u32, limit: &str| {
            format!(
                "worker_rlimit_nofile {limit}; events {{ worker_connections {connections}; }}
                 http {{ access_log off; server {{ listen 8080; root /srv; }} }}"
            )
        };
        check("descriptor-limit", &text(65, "64"), &text(64, "64"));
    }
}
