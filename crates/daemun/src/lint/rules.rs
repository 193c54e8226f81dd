//! The rules, a line each. Those about the security of what is served come first.

mod add_header_dropped;
mod alias_slash;
mod allow_without_deny;
mod decoded_in_header;
mod descriptor_limit;
mod error_log_off;
mod header_not_always;
mod if_in_location;
mod location_shadowed;
mod location_unreachable;
mod no_default_server;
mod real_ip_from_everyone;
mod referers_none;
mod return_before_access;
mod root_missing;
mod runaway_pattern;
mod server_name_conflict;
mod status_exposed;
mod unanchored_pattern;

use super::Rule;

pub(super) static ALL: &[&Rule] = &[
    &alias_slash::RULE,
    &decoded_in_header::RULE,
    &allow_without_deny::RULE,
    &return_before_access::RULE,
    &real_ip_from_everyone::RULE,
    &unanchored_pattern::RULE,
    &referers_none::RULE,
    &status_exposed::RULE,
    &add_header_dropped::RULE,
    &header_not_always::RULE,
    // What does not do what it seems to.
    &if_in_location::RULE,
    &location_shadowed::RULE,
    &location_unreachable::RULE,
    &no_default_server::RULE,
    &server_name_conflict::RULE,
    &root_missing::RULE,
    // What fails under load, or fills a disk.
    &runaway_pattern::RULE,
    &descriptor_limit::RULE,
    &error_log_off::RULE,
];

#[cfg(test)]
mod tests {
    use super::ALL;
    use crate::lint::testing::codes;

    #[test]
    fn codes_are_short_and_unique() {
        for (place, rule) in ALL.iter().enumerate() {
            assert!(rule.code.len() <= 24, "{}", rule.code);
            assert!(
                rule.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                rule.code
            );
            assert!(
                !ALL[..place].iter().any(|other| other.code == rule.code),
                "{} twice",
                rule.code
            );
        }
    }

    /// As their documentation has them.
    #[test]
    fn common_configurations_are_fine() {
        for (name, text) in [
            (
                "debian",
                "server { listen 80 default_server; listen [::]:80 default_server; root /var/www/html;
                     index index.html index.htm index.nginx-debian.html; server_name _;
                     location / { try_files $uri $uri/ =404; } }",
            ),
            (
                "single-page application",
                "server { listen 80; server_name app.example; root /srv/app; index index.html;
                     location / { try_files $uri $uri/ /index.html; }
                     location ~* \\.(js|css|png|svg|woff2)$ { expires 1y; add_header Cache-Control public; } }",
            ),
            (
                "static site",
                "server { listen 80; listen [::]:80; server_name example.com www.example.com;
                     root /var/www/example.com; index index.html;
                     location / { try_files $uri $uri/ =404; }
                     error_page 404 /404.html; location = /404.html { internal; }
                     location = /favicon.ico { log_not_found off; access_log off; }
                     location ~ /\\.ht { deny all; } }
                 server { listen 80; listen [::]:80; server_name old.example.com;
                     return 301 https://example.com$request_uri; }"
                    .replacen("listen 80;", "listen 80 default_server;", 1)
                    .replacen("listen [::]:80;", "listen [::]:80 default_server;", 1)
                    .leak(),
            ),
            (
                "beginner's guide",
                "server { listen 8080; location / { root /data/www; }
                     location ~ \\.(gif|jpg|png)$ { root /data/images; } }",
            ),
        ] {
            assert_eq!(codes(text), <[&str; 0]>::default(), "{name}");
        }
    }
}
