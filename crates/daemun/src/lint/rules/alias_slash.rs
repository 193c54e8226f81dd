//! `alias` and its location end differently, or both without a slash.

use crate::lint::header::Header;
use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "alias-slash",
    explanation: "the alias takes the place of the location's name and nothing else: unless both end in a slash, \
                  neighbours of the folder are reached, or its files are not",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.blocks("location").filter_map(look_at).collect()
}

fn look_at(location: Scope<'_>) -> Option<Finding> {
    let Header::Prefix { name, .. } = Header::of(location)? else {
        return None;
    };
    let alias = location.all("alias").next()?.args.first()?;
    let folder = &*alias.text;
    if has_variable_at_end(folder) {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let (message, uri, effect) = match (name.ends_with('/'), folder.ends_with(b"/")) {
        (true, true) => return None,
        // A file under its own name.
        (false, false) if has_extension(&name) && has_extension(&alias.to_str_lossy()) => {
            return None;
        }
        // What root would do, too.
        (false, false) if folder.ends_with(name.as_bytes()) => return None,
        (false, true) => (
            format!("location \"{name}\" has no slash at its end, and its alias has one"),
            format!("{name}../secret.txt"),
            format!("is answered with {alias}../secret.txt, outside of the folder"),
        ),
        (false, false) => (
            format!("neither location \"{name}\" nor its alias has a slash at its end"),
            format!("{name}-old/secret.txt"),
            format!("is answered with {alias}-old/secret.txt, from a neighbour of the folder"),
        ),
        (true, false) => (
            format!("location \"{name}\" has a slash at its end, and its alias has none"),
            format!("{name}file.txt"),
            format!("looks for {alias}file.txt, not for {alias}/file.txt"),
        ),
    };
    let example = Example::of(location, uri).shows(effect);
    Some(Finding { message, span: alias.span, example })
}

fn has_variable_at_end(folder: &[u8]) -> bool {
    let last = folder.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    last.contains(&b'$')
}

fn has_extension(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.contains('.'))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn both_end_in_a_slash_or_name_a_file() {
        let server = |inside: &str| format!("server {{ listen 8080; root /srv; {inside} }}");
        let good = server(
            "location /i/ { alias /data/images/; }
             location = /x { alias /data/x; }
             location /media { alias /srv/site/media; }
             location /robots.txt { alias /data/robots.txt; }
             location ~ ^/u/(.*)$ { alias /data/$1; }",
        );
        for bad in
            ["/i { alias /data/images/; }", "/i { alias /data/images; }", "/i/ { alias /data/i; }"]
        {
            check("alias-slash", &server(&format!("location {bad}")), &good);
        }
    }
}
