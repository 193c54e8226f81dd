//! Requests that go to PHP whether there is such a file or not.

use crate::lint::header::Header;
use crate::lint::{Example, Finding, Rule, Scope, Site, sample};

pub(super) static RULE: Rule = Rule {
    code: "php-file-unchecked",
    explanation: "PHP looks for a missing script in the folders above: with cgi.fix_pathinfo it runs what visitors \
                  uploaded; \"try_files $fastcgi_script_name =404;\" lets through what is there",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.blocks("location").filter_map(|location| look_at(site, location)).collect()
}

fn look_at(site: &Site<'_>, location: Scope<'_>) -> Option<Finding> {
    let Some(Header::Pattern { text, .. }) = Header::of(location) else {
        return None;
    };
    let is_for_scripts = text.windows(4).any(|part| part == b".php") && takes_any_name(text);
    let pass = location.all("fastcgi_pass").next().filter(|_| is_for_scripts)?;
    if is_checked(location) || is_php_told(site, location) {
        return None;
    }
    let uri = sample::uri_of(location).replacen(".php", "", 1);
    let uri = format!("{}/uploads/photo.jpg/x.php", uri.trim_end_matches("/a"));
    let example = Example::of(location, uri).shows("reaches PHP, which may run /uploads/photo.jpg");
    let message = "requests go to PHP without a look whether the script is there".to_owned();
    Some(Finding { message, span: pass.span, example })
}

/// Not the name of one script.
fn takes_any_name(pattern: &[u8]) -> bool {
    let name = pattern.strip_prefix(b"^/").unwrap_or(b"(");
    !name
        .iter()
        .take_while(|byte| **byte != b'.')
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'\\'))
}

/// Something here looks for the file.
fn is_checked(location: Scope<'_>) -> bool {
    let looks = |scope: Scope<'_>| {
        scope.name() == "if"
            && scope
                .arguments()
                .iter()
                .any(|word| word.text.windows(2).any(|part| matches!(part, b"-f" | b"-e")))
    };
    location.has("try_files")
        || location.has("internal")
        || location.inner().any(looks)
        || location.outer().is_some_and(|outer| outer.inner().any(looks))
}

/// PHP is told to take names as they are, or a comment says that it has been.
fn is_php_told(site: &Site<'_>, location: Scope<'_>) -> bool {
    const SETTING: &str = "cgi.fix_pathinfo";
    let sets = |scope: Scope<'_>| {
        scope.in_force(&["fastcgi_param"]).iter().any(|parameter| {
            parameter.args.iter().any(|word| word.to_str_lossy().contains(SETTING))
        })
    };
    let Some(block) = location.opener() else { return false };
    let text = site.files.file(block.name.span.file).text();
    let first = site.files.position(block.name.span).line as usize;
    let lines = String::from_utf8_lossy(text);
    let mut inside =
        lines.lines().skip(first - 1).take_while(|line| !line.trim_start().starts_with('}'));
    sets(location)
        || inside.any(|line| {
            line.split_once('#')
                .is_some_and(|(_, comment)| comment.contains(SETTING) && comment.contains('0'))
        })
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn scripts_are_looked_for() {
        let server = |location: &str| format!("server {{ listen 8080; root /srv; {location} }}");
        let bad = server(r"location ~ \.php$ { fastcgi_pass 127.0.0.1:9000; }");
        for good in [
            r"location ~ \.php$ { try_files $uri =404; fastcgi_pass 127.0.0.1:9000; }",
            r"location ~ \.php$ { if (!-f $document_root$fastcgi_script_name) { return 404; } fastcgi_pass 127.0.0.1:9000; }",
            r"location ~ ^/index\.php(/|$) { fastcgi_pass 127.0.0.1:9000; }",
            "location = /index.php { fastcgi_pass 127.0.0.1:9000; }",
            "location ~ \\.php$ {\n # cgi.fix_pathinfo = 0 in php.ini\n fastcgi_pass 127.0.0.1:9000; }",
            r"location ~ \.php$ { fastcgi_param PHP_VALUE cgi.fix_pathinfo=0; fastcgi_pass 127.0.0.1:9000; }",
        ] {
            check("php-file-unchecked", &bad, &server(good));
        }
    }
}
