//! Private keys that everybody on the machine can read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemun_conf::Word;

use crate::lint::{Example, Finding, Rule, Site};

pub(super) static RULE: Rule = Rule {
    code: "key-readable",
    explanation: "whoever reads a private key can be the server; workers need not read it, since the master does",
    find,
};

const KEYS: &[&str] =
    &["ssl_certificate_key", "proxy_ssl_certificate_key", "uwsgi_ssl_certificate_key"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scope in site.outline.scopes() {
        for name in KEYS {
            for word in scope.all(name).filter_map(|directive| directive.args.first()) {
                if !is_readable(word, site.folder()) {
                    continue;
                }
                let message = format!("everybody may read \"{word}\"");
                let example = Example::of(scope, "/");
                let example = Example { scheme: "https", ..example }
                    .shows("may be answered by whoever has a login on this machine");
                findings.push(Finding { message, span: word.span, example });
            }
        }
    }
    findings
}

/// Names with variables, and what is no file, are nobody's to look at.
fn is_readable(word: &Word, folder: &Path) -> bool {
    let Ok(name) = word.as_str() else { return false };
    let file = std::fs::metadata(folder.join(name.strip_prefix("store:file:").unwrap_or(name)));
    file.is_ok_and(|file| file.is_file() && file.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::lint::testing::{Identity, check};

    #[test]
    fn keys_are_read_by_few() {
        let own = Identity::new(|_| {});
        let folder = std::env::temp_dir().join(format!("daemun-lint-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = |name: &str, mode: u32| {
            let path = folder.join(name);
            std::fs::write(&path, &own.key).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (certificate, path) = (own.certificate(), path.display());
            format!(
                "server {{ listen 443 ssl; root /srv; ssl_certificate {certificate}; ssl_certificate_key {path}; }}"
            )
        };
        let bad = server("open.key", 0o644);
        check("key-readable", &bad, &server("closed.key", 0o600));
        check("key-readable", &bad, &server("group.key", 0o640));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
