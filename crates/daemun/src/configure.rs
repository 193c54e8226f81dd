//! `configure arguments:` of `-V`, in nginx's grammar: test suites and packages parse it to learn
//! what a server can do.

use crate::identity::Identity;

/// The line after `configure arguments:`. `works` holds the modules that work, by nginx's names
/// without `_module`: `http_access`, `stream_map`; and `http`, `mail`, `stream`, `http-cache`,
/// `pcre` for what is no module.
///
/// What nginx builds unless told otherwise is named where it is missing, the rest where it is
/// there. What belongs to `mail` or `stream` goes without saying where these are missing.
pub fn arguments(identity: &Identity, works: &[&str]) -> String {
    let has = |name: &str| works.contains(&name);
    let mut arguments = vec![
        format!("--prefix={}", identity.prefix),
        format!("--conf-path={}", identity.configuration),
        format!("--error-log-path={}", identity.error_log),
        format!("--http-log-path={}", identity.access_log),
        format!("--pid-path={}", identity.pid),
        format!("--lock-path={}", identity.lock),
        format!("--build=daemun/{}", env!("CARGO_PKG_VERSION")),
        "--with-debug".to_owned(),
    ];
    for family in ["mail", "stream"].into_iter().filter(|family| has(family)) {
        arguments.push(format!("--with-{family}"));
    }
    let optional = OPTIONAL.iter().filter(|name| has(name));
    arguments.extend(optional.map(|name| format!("--with-{name}{}", suffix(name))));
    let missing = DEFAULT.iter().filter(|name| !has(name) && family(name).is_none_or(has));
    arguments.extend(missing.map(|name| format!("--without-{name}{}", suffix(name))));
    arguments.join(" ")
}

/// What nginx has unless it is configured `--without` it.
const DEFAULT: [&str; 51] = [
    "http",
    "http-cache",
    "http_charset",
    "http_gzip",
    "http_ssi",
    "http_userid",
    "http_access",
    "http_auth_basic",
    "http_mirror",
    "http_autoindex",
    "http_geo",
    "http_map",
    "http_split_clients",
    "http_referer",
    "http_rewrite",
    "http_proxy",
    "http_fastcgi",
    "http_uwsgi",
    "http_scgi",
    "http_grpc",
    "http_tunnel",
    "http_memcached",
    "http_limit_conn",
    "http_limit_req",
    "http_empty_gif",
    "http_browser",
    "http_upstream_hash",
    "http_upstream_ip_hash",
    "http_upstream_least_conn",
    "http_upstream_least_time",
    "http_upstream_random",
    "http_upstream_keepalive",
    "http_upstream_zone",
    "http_upstream_sticky",
    "mail_pop3",
    "mail_imap",
    "mail_smtp",
    "stream_limit_conn",
    "stream_access",
    "stream_geo",
    "stream_map",
    "stream_split_clients",
    "stream_return",
    "stream_pass",
    "stream_set",
    "stream_upstream_hash",
    "stream_upstream_least_conn",
    "stream_upstream_least_time",
    "stream_upstream_random",
    "stream_upstream_zone",
    "pcre",
];

/// What nginx has only where it is configured `--with` it.
const OPTIONAL: [&str; 28] = [
    "threads",
    "file-aio",
    "http_ssl",
    "http_v2",
    "http_v3",
    "http_realip",
    "http_addition",
    "http_xslt",
    "http_image_filter",
    "http_geoip",
    "http_sub",
    "http_dav",
    "http_flv",
    "http_mp4",
    "http_gunzip",
    "http_gzip_static",
    "http_auth_request",
    "http_random_index",
    "http_secure_link",
    "http_degradation",
    "http_slice",
    "http_stub_status",
    "http_perl",
    "mail_ssl",
    "stream_ssl",
    "stream_realip",
    "stream_geoip",
    "stream_ssl_preread",
];

/// What has to be there before its modules are worth a word. `http` always is.
fn family(name: &str) -> Option<&'static str> {
    ["mail", "stream"].into_iter().find(|family| name.starts_with(family))
}

fn suffix(name: &str) -> &'static str {
    match name {
        "http" | "http-cache" | "pcre" | "threads" | "file-aio" => "",
        _ => "_module",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NGINX;

    #[test]
    fn what_is_missing_and_what_was_added_is_named() {
        let line =
            arguments(&NGINX, &["http", "pcre", "http_access", "http_rewrite", "http_stub_status"]);
        let words: Vec<&str> = line.split(' ').collect();
        for word in
            ["--with-debug", "--with-http_stub_status_module", "--without-http_proxy_module"]
        {
            assert!(words.contains(&word), "{word}: {line}");
        }
        for word in
            ["--without-http", "--without-pcre", "--without-http_access_module", "--with-stream"]
        {
            assert!(!words.contains(&word), "{word}: {line}");
        }
        assert!(!line.contains("-stream_") && !line.contains("-mail_"), "{line}");
    }

    #[test]
    fn a_family_that_is_there_names_its_gaps() {
        let line = arguments(&NGINX, &["stream", "stream_map", "stream_realip"]);
        assert!(line.contains("--with-stream ") && line.contains("--with-stream_realip_module"));
        assert!(
            line.contains("--without-stream_geo_module")
                && !line.contains("--without-stream_map_module")
        );
    }
}
