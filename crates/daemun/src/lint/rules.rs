//! The rules, a line each. Those about the security of what is served come first.

mod add_header_dropped;
mod address_from_request;
mod alias_slash;
mod allow_without_deny;
mod body_announced;
mod buffering_off;
mod cache_key_shared;
mod cache_of_cookies;
mod certificate_ends;
mod chain_incomplete;
mod client_ca_elsewhere;
mod dead_protocol;
mod decoded_in_header;
mod descriptor_limit;
mod error_log_off;
mod header_not_always;
mod hsts_without_tls;
mod http2_many_streams;
mod http2_without_tls;
mod http_host_passed;
mod if_in_location;
mod key_readable;
mod location_shadowed;
mod location_unreachable;
mod name_resolved_once;
mod no_default_server;
mod php_file_unchecked;
mod proxy_decoded_path;
mod proxy_header_dropped;
mod proxy_slash;
mod purge_exposed;
mod real_ip_from_everyone;
mod referers_none;
mod resolver_missing;
mod return_before_access;
mod root_missing;
mod rsa_alone;
mod runaway_pattern;
mod server_name_conflict;
mod stapling_without_responder;
mod status_exposed;
mod unanchored_pattern;
mod upgrade_headers;

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
    &purge_exposed::RULE,
    &cache_of_cookies::RULE,
    &cache_key_shared::RULE,
    &address_from_request::RULE,
    &php_file_unchecked::RULE,
    &proxy_decoded_path::RULE,
    &http_host_passed::RULE,
    &client_ca_elsewhere::RULE,
    &key_readable::RULE,
    &dead_protocol::RULE,
    &certificate_ends::RULE,
    &chain_incomplete::RULE,
    &hsts_without_tls::RULE,
    &add_header_dropped::RULE,
    &header_not_always::RULE,
    &proxy_header_dropped::RULE,
    &body_announced::RULE,
    // What does not do what it seems to.
    &if_in_location::RULE,
    &location_shadowed::RULE,
    &location_unreachable::RULE,
    &no_default_server::RULE,
    &server_name_conflict::RULE,
    &root_missing::RULE,
    &proxy_slash::RULE,
    &upgrade_headers::RULE,
    &name_resolved_once::RULE,
    &resolver_missing::RULE,
    &stapling_without_responder::RULE,
    &http2_without_tls::RULE,
    &http2_many_streams::RULE,
    // What fails under load, or fills a disk.
    &runaway_pattern::RULE,
    &descriptor_limit::RULE,
    &buffering_off::RULE,
    &rsa_alone::RULE,
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
                rule.code
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
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
                "WordPress",
                r"upstream php { server unix:/tmp/php-cgi.socket; server 127.0.0.1:9000; }
                 server {
                     server_name domain.tld; root /var/www/wordpress; index index.php;
                     location = /favicon.ico { log_not_found off; access_log off; }
                     location = /robots.txt { allow all; log_not_found off; access_log off; }
                     location / { try_files $uri $uri/ /index.php?$args; }
                     location ~ \.php$ {
                         #NOTE: You should have 'cgi.fix_pathinfo = 0;' in php.ini
                         fastcgi_intercept_errors on;
                         fastcgi_pass php;
                         fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
                     }
                     location ~* \.(js|css|png|jpg|jpeg|gif|ico)$ { expires max; log_not_found off; }
                 }",
            ),
            (
                "Django",
                "upstream django { server unix:///path/to/mysite/mysite.sock; }
                 server {
                     listen 8000; server_name example.com; charset utf-8; client_max_body_size 75M;
                     location /media { alias /path/to/mysite/media; }
                     location /static { alias /path/to/mysite/static; }
                     location / { uwsgi_pass django; uwsgi_param REQUEST_URI $request_uri; }
                 }",
            ),
            (
                "single-page application with an API",
                "server {
                     listen 80; server_name app.example; root /usr/share/nginx/html; index index.html;
                     location / { try_files $uri $uri/ /index.html; }
                     location /api/ {
                         proxy_pass http://127.0.0.1:3000/;
                         proxy_http_version 1.1;
                         proxy_set_header Upgrade $http_upgrade;
                         proxy_set_header Connection 'upgrade';
                         proxy_set_header Host $host;
                         proxy_set_header X-Real-IP $remote_addr;
                         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                         proxy_set_header X-Forwarded-Proto $scheme;
                     }
                 }",
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
