//! The directives that nginx 1.31 has: those that daemun lacks are refused by name, never ignored.

/// `DIRECTIVE<TAB>MODULE`, sorted.
const LIST: &str = include_str!("../known-directives.tsv");

/// The module of nginx that has the directive, `None` where none has.
pub fn module_of(directive: &str) -> Option<&'static str> {
    directives().find(|(name, _)| *name == directive).map(|(_, module)| module)
}

/// What to say of a name that is no directive of nginx's, where it is a well-known other thing.
pub fn foreign(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix('\u{feff}') {
        return Some(format!(
            "a byte order mark stands before \"{rest}\": save the file without one"
        ));
    }
    if name.contains(IS_TYPOGRAPHIC) {
        return Some(TYPOGRAPHIC.to_owned());
    }
    if is_repetition(name) {
        return Some(daemun_conf::QUOTE_BRACES.to_owned());
    }
    if name.starts_with('<') {
        return Some(
            "this is a section of Apache's: here it is server { } or location { }".to_owned(),
        );
    }
    if let Some((_, ours)) = APACHES.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name)) {
        return Some(format!("this is Apache's; here it is {ours}"));
    }
    if name == "ssl" {
        return Some("nginx has it no more: \"ssl\" is a parameter of \"listen\"".to_owned());
    }
    let is_of = |(sign, _): &&(&str, &str)| match sign.strip_prefix('*') {
        Some(end) => name.ends_with(end) || name.contains(&format!("{end}_")),
        None => name.starts_with(sign),
    };
    let (_, module) = THIRD_PARTY.iter().find(is_of)?;
    Some(format!("it is of {module}, which is no part of nginx; daemun has nothing like it"))
}

pub const IS_TYPOGRAPHIC: [char; 4] = ['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];

/// The end of a pattern that `{` has cut: `2,3}$`.
pub fn is_repetition(name: &str) -> bool {
    let behind = name.trim_start_matches(|one: char| one.is_ascii_digit() || one == ',');
    behind.len() < name.len() && behind.starts_with('}')
}

/// Of quotes that a word processor has made.
pub const TYPOGRAPHIC: &str = "typographic quotes are no quotes here: write \" or '";

const APACHES: [(&str, &str); 14] = [
    ("AllowOverride", "nothing: there is no .htaccess"),
    ("CustomLog", "access_log"),
    ("DirectoryIndex", "index"),
    ("DocumentRoot", "root"),
    ("ErrorDocument", "error_page"),
    ("ErrorLog", "error_log"),
    ("Header", "add_header"),
    ("LoadModule", "nothing: modules are built in"),
    ("ProxyPass", "proxy_pass"),
    ("Require", "allow and deny"),
    ("RewriteCond", "if, or a location"),
    ("RewriteEngine", "nothing: rewriting is always on"),
    ("RewriteRule", "rewrite"),
    ("ServerName", "server_name"),
];

/// Beginnings of names, or with a star their ends, and whose they are.
const THIRD_PARTY: [(&str, &str); 26] = [
    ("*_by_lua", "OpenResty's ngx_http_lua_module"),
    ("*_by_lua_block", "OpenResty's ngx_http_lua_module"),
    ("*_by_lua_file", "OpenResty's ngx_http_lua_module"),
    ("lua_", "OpenResty's ngx_http_lua_module"),
    ("more_", "ngx_headers_more"),
    ("echo", "OpenResty's ngx_http_echo_module"),
    ("set_unescape_uri", "OpenResty's set-misc-nginx-module"),
    ("srcache_", "OpenResty's srcache-nginx-module"),
    ("redis", "a module for Redis"),
    ("modsecurity", "ModSecurity"),
    ("SecRules", "naxsi"),
    ("pagespeed", "ngx_pagespeed"),
    ("passenger_", "Phusion Passenger"),
    ("vhost_traffic_status", "nginx-module-vts"),
    ("fancyindex", "ngx-fancyindex"),
    ("subs_filter", "ngx_http_substitutions_filter_module; sub_filter is nginx's own"),
    ("upload_", "nginx-upload-module"),
    ("rtmp", "nginx-rtmp-module"),
    ("nchan_", "nchan"),
    ("push_stream", "nginx-push-stream-module"),
    ("auth_pam", "ngx_http_auth_pam_module"),
    ("auth_ldap", "nginx-auth-ldap"),
    ("dav_ext", "nginx-dav-ext-module"),
    ("testcookie", "testcookie-nginx-module"),
    ("ajp_", "nginx_ajp_module"),
    ("vod", "nginx-vod-module"),
];

/// Every directive with its module.
pub fn directives() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.lines().filter_map(|line| line.split_once('\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_is_known() {
        for (name, told) in [
            ("\u{feff}user", "byte order mark"),
            ("\u{201c}root", "typographic quotes"),
            ("<Directory", "location { }"),
            ("DocumentRoot", "here it is root"),
            ("content_by_lua_block", "ngx_http_lua_module"),
            ("more_set_headers", "ngx_headers_more"),
            ("modsecurity_rules_file", "ModSecurity"),
            ("ssl", "parameter of \"listen\""),
        ] {
            assert!(foreign(name).is_some_and(|help| help.contains(told)), "{name}");
        }
        for (name, _) in directives() {
            assert_eq!(foreign(name), None, "{name}");
        }
    }
}
