//! Locations whose every URI another one takes.

use crate::lint::header::Header;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "location-shadowed",
    explanation: "the first pattern that matches takes a request, and takes it from prefixes that have no ^~",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    let blocks =
        site.outline.scopes().filter(|scope| matches!(scope.name(), "server" | "location"));
    blocks.flat_map(in_block).collect()
}

fn in_block(block: Scope<'_>) -> Vec<Finding> {
    let locations: Vec<(Scope<'_>, Header<'_>)> =
        block.inner().filter_map(|inner| Some((inner, Header::of(inner)?))).collect();
    let mut findings = Vec::new();
    for (place, (location, header)) in locations.iter().enumerate() {
        let rivals: &[_] = match header {
            Header::Pattern { .. } => &locations[..place],
            // What is nested in it is looked at before the patterns around it.
            Header::Prefix { outranks: false, .. } if location.inner().count() == 0 => &locations,
            _ => continue,
        };
        if let Some((_, rival)) = rivals.iter().find(|(_, rival)| covers(rival, header)) {
            findings.extend(finding(*location, rival));
        }
    }
    findings
}

fn finding(location: Scope<'_>, rival: &Header<'_>) -> Option<Finding> {
    let Header::Pattern { text, .. } = rival else {
        return None;
    };
    let text = String::from_utf8_lossy(text);
    let word = location.arguments().last()?;
    let example = Example::into(location).shows(format!("is answered by location \"{text}\""));
    let message =
        format!("location \"{word}\" is never reached: \"{text}\" matches whatever it does");
    Some(Finding { message, span: word.span, example })
}

/// Whether a pattern takes everything that the other location would, as far as can be told from their texts.
fn covers(rival: &Header<'_>, other: &Header<'_>) -> bool {
    let Header::Pattern { text, caseless } = rival else {
        return false;
    };
    let Some(taken) = Taken::of(text, *caseless) else {
        // No more than the same pattern again.
        return matches!(other, Header::Pattern { text: again, caseless: other }
            if again == text && (*caseless || !other));
    };
    match (&taken, other) {
        (Taken::Beginning(start), Header::Prefix { name, .. }) => taken.begins(name, start),
        (_, Header::Pattern { text, caseless: is_caseless }) if *caseless || !is_caseless => {
            Taken::of(text, *is_caseless).is_some_and(|inner| taken.includes(&inner))
        }
        _ => false,
    }
}

/// The URIs that a simple pattern takes; caseless ones in lower case.
enum Taken {
    /// `^/start`, and `/` alone, which every URI has.
    Beginning(String),
    /// `\.(one|two)$`
    Extensions(Vec<String>),
}

impl Taken {
    fn of(text: &[u8], caseless: bool) -> Option<Taken> {
        let text = String::from_utf8_lossy(text);
        let text = if caseless { text.to_ascii_lowercase() } else { text.into_owned() };
        if let Some(extensions) = text.strip_prefix(r"\.").and_then(|rest| rest.strip_suffix('$')) {
            let listed = extensions.strip_prefix("(?:").or(extensions.strip_prefix('('));
            let list = listed.and_then(|list| list.strip_suffix(')')).unwrap_or(extensions);
            let words: Vec<String> = list.split('|').map(str::to_owned).collect();
            return words.iter().all(|word| is_plain(word)).then_some(Taken::Extensions(words));
        }
        if matches!(
            &*text,
            "" | "/" | "." | ".*" | "(.*)" | "^" | "^.*" | "^(.*)" | "^.*$" | "^(.*)$"
        ) {
            return Some(Taken::Beginning(String::new()));
        }
        let start = text.strip_prefix('^')?;
        let open = ["(.*)$", ".*$", "(.*)", ".*"].iter().find_map(|end| start.strip_suffix(end));
        let start = open.unwrap_or(start);
        let start = start.replace(r"\.", ".").replace(r"\-", "-");
        let is_literal = text.matches('.').count() == 0 || open.is_some() || text.contains(r"\.");
        (is_literal && start.strip_prefix('/').is_some_and(|rest| rest.is_empty() || is_path(rest)))
            .then_some(Taken::Beginning(start))
    }

    fn begins(&self, name: &[u8], start: &str) -> bool {
        name.starts_with(start.as_bytes())
    }

    fn includes(&self, inner: &Taken) -> bool {
        match (self, inner) {
            (Taken::Beginning(start), Taken::Beginning(inner)) => inner.starts_with(start.as_str()),
            (Taken::Beginning(start), Taken::Extensions(_)) => start.len() <= 1,
            (Taken::Extensions(all), Taken::Extensions(some)) => {
                some.iter().all(|one| all.contains(one))
            }
            (Taken::Extensions(_), Taken::Beginning(_)) => false,
        }
    }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_path(rest: &str) -> bool {
    rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn each_location_has_something_of_its_own() {
        let server = |locations: &str| format!("server {{ listen 8080; root /srv; {locations} }}");
        let good = server(
            r"location / { } location /admin/ { } location = /x { } location ^~ /static/ { }
              location ~ \.php$ { } location ~* \.(png|jpg)$ { } location ~ ^/static/ { }
              location ~ \.png$ { return 404; }"
                .replace(r"location ~ \.png$ { return 404; }", "")
                .as_str(),
        );
        for bad in [
            r"location ~* \.(png|jpg|gif)$ { } location ~ \.(gif|png)$ { }",
            r"location /admin/ { } location ~ ^/admin { }",
            r"location ~ ^/ { } location ~ \.php$ { }",
            r"location ~ ^/a/(.*)$ { } location ~ ^/a/b/ { }",
        ] {
            check("location-shadowed", &server(bad), &good);
        }
    }
}
