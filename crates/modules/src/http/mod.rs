//! The HTTP modules, in the order in which they act.

pub mod access;
pub mod addition;
pub mod auth_basic;
pub mod auth_request;
pub mod autoindex;
pub mod brotli;
pub mod browser;
pub mod charset;
mod compress;
pub mod dav;
pub mod empty_gif;
pub mod fastcgi;
pub mod flv;
mod gateway;
pub mod geo;
pub mod geoip;
pub mod geoip2;
pub mod grpc;
pub mod gunzip;
pub mod gzip;
pub mod gzip_static;
pub mod headers;
pub mod health_check;
mod http2_head;
pub mod image_filter;
pub mod index;
pub mod limit_conn;
pub mod limit_req;
pub mod log;
pub mod map;
pub mod memcached;
pub mod mirror;
pub mod mp4;
pub mod not_modified;
pub mod proxy;
pub mod random_index;
pub mod range;
pub mod realip;
pub mod referer;
pub mod rewrite;
pub mod scgi;
pub mod secure_link;
pub mod server_status;
pub mod slice;
pub mod split_clients;
pub mod ssi;
pub mod static_files;
pub mod sticky;
pub mod stub_status;
pub mod sub_filter;
pub mod try_files;
pub mod tunnel;
pub mod upstream;
pub mod userid;
pub mod uwsgi;
pub mod zstd;

use daemun_http::module::HttpModule;
use daemun_http::request::Request;
use daemun_proto::http1::Method;

/// Handlers of a phase, and filters, act in this order.
pub static MODULES: &[&HttpModule] = &[
    &daemun_http::tls::MODULE,
    &daemun_http::core::http2::MODULE,
    &daemun_http::tls::CLIENT,
    &daemun_http::upstream::cache::place::MODULE,
    // Groups of servers; they are asked by the modules that pass requests on.
    &upstream::MODULE,
    &upstream::HASH,
    &upstream::IP_HASH,
    &upstream::LEAST_CONN,
    &upstream::LEAST_TIME,
    &upstream::RANDOM,
    &upstream::KEEPALIVE,
    &upstream::ZONE,
    &sticky::MODULE,
    &health_check::MODULE,
    // Whoever looks at the client's address comes after what finds it.
    &realip::MODULE,
    &map::MODULE,
    &geo::MODULE,
    &geoip::MODULE,
    &geoip2::MODULE,
    &split_clients::MODULE,
    &browser::MODULE,
    &referer::MODULE,
    &secure_link::MODULE,
    &rewrite::MODULE,
    // A request that comes too early takes no place among the connections while it waits.
    &limit_req::MODULE,
    &limit_conn::MODULE,
    &access::MODULE,
    // Asked once the address is known to be welcome.
    &auth_basic::MODULE,
    // The dearest question last.
    &auth_request::MODULE,
    &try_files::MODULE,
    &mirror::MODULE,
    // Content: what a location is dedicated to goes before what looks at the URI.
    &stub_status::MODULE,
    &server_status::MODULE,
    &proxy::MODULE,
    &proxy::COMMON,
    &grpc::MODULE,
    &grpc::COMMON,
    &tunnel::MODULE,
    &tunnel::COMMON,
    &fastcgi::MODULE,
    &fastcgi::COMMON,
    &scgi::MODULE,
    &scgi::COMMON,
    &uwsgi::MODULE,
    &uwsgi::COMMON,
    &memcached::MODULE,
    &memcached::COMMON,
    &empty_gif::MODULE,
    &flv::MODULE,
    &mp4::MODULE,
    // A folder is listed only where it has no index.
    &random_index::MODULE,
    &index::MODULE,
    &autoindex::MODULE,
    &dav::MODULE,
    // A compressed copy goes before the file itself, the shortest first.
    &brotli::FILES,
    &zstd::FILES,
    &gzip_static::MODULE,
    // Last of the content handlers: it takes whatever is left.
    &static_files::MODULE,
    // Pieces make one response before anybody looks at it.
    &slice::MODULE,
    // Conditions before what is added and cut: a body that is not sent needs neither.
    &not_modified::MODULE,
    // Added fields before ranges: an added entity tag counts for If-Range.
    &headers::MODULE,
    &userid::MODULE,
    // What rewrites bodies sees them decompressed.
    &gunzip::MODULE,
    &sub_filter::MODULE,
    &image_filter::MODULE,
    &charset::MODULE,
    &ssi::MODULE,
    // What is added has been through its own filters, and is not rewritten again.
    &addition::MODULE,
    // Nothing rewrites a body once it is compressed.
    &brotli::MODULE,
    &zstd::MODULE,
    &gzip::MODULE,
    &range::MODULE,
    &log::MODULE,
];

/// GET and HEAD.
fn reads_only(request: &Request) -> bool {
    matches!(request.head.method(), Method::Get | Method::Head)
}

#[cfg(test)]
mod tests {
    use daemun_core::main_context;
    use daemun_core::module::Module;
    use daemun_core::tables;
    use daemun_http::core;

    use super::MODULES;

    fn all() -> Vec<&'static Module> {
        let http = core::PARTS.iter().chain(MODULES).map(|module| &module.base);
        main_context::MODULES.iter().copied().chain(http).collect()
    }

    #[test]
    fn tables_are_sound() {
        assert_eq!(tables::mistakes(&all()), Vec::<String>::new());
    }

    /// The configurations in the modules' own pages.
    fn examples() -> Vec<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut examples = Vec::new();
        for path in files.filter(|path| path.extension().is_some_and(|kind| kind == "rs")) {
            let source = std::fs::read_to_string(&path).unwrap();
            let page: String = source
                .lines()
                .map_while(|line| line.strip_prefix("//!"))
                .map(|line| format!("{line}\n"))
                .collect();
            let blocks = page.split("```nginx").skip(1);
            let blocks = blocks.filter_map(|block| block.split("```").next());
            examples.extend(blocks.map(|block| (path.display().to_string(), block.to_owned())));
        }
        examples
    }

    #[test]
    fn examples_load() {
        let examples = examples();
        assert!(examples.len() >= 8, "{} examples", examples.len());
        for (file, example) in examples {
            let in_http = tables::load(&all(), &format!("http {{ {example} }}"));
            let in_server = tables::load(&all(), &format!("http {{ server {{ {example} }} }}"));
            if let (Err(first), Err(second)) = (in_http, in_server) {
                panic!("{file}: {first:?} {second:?}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        for (text, sentence) in [
            ("return 1000;", "invalid return code \"1000\""),
            ("return /path;", "invalid return code \"/path\""),
            ("allow 10.0.0;", "invalid parameter \"10.0.0\""),
            ("deny 10.1.0.0/8;", "low address bits of 10.1.0.0/8 are meaningless"),
            ("try_files $uri =1000;", "invalid code \"=1000\""),
            ("try_files a b; try_files a b;", "\"try_files\" directive is duplicate"),
            ("index \"\";", "index \"\" in \"index\" directive is invalid"),
            ("add_header A b never;", "invalid parameter \"never\""),
            ("expires @1h; expires 1h;", "\"expires\" directive is duplicate"),
            ("expires @25h;", "\"expires\" directive daily time value must be less than 24 hours"),
            ("access_log off combined;", "invalid parameter \"combined\""),
            ("access_log a.log main;", "unknown log format \"main\""),
            (
                "access_log a.log combined flush=5s;",
                "no buffer is defined for access_log \"a.log\"",
            ),
            ("access_log a$host combined gzip;", "buffered logs cannot have variables in name"),
            (
                "access_log a.log combined gzip; access_log a.log combined buffer=1k;",
                "access_log \"a.log\" already defined with conflicting parameters",
            ),
            (
                "open_log_file_cache valid=1m;",
                "\"open_log_file_cache\" must have \"max\" parameter",
            ),
            ("expires changed 1h;", "\"expires\" directive invalid value"),
        ] {
            let text = format!("http {{ server {{ {text} }} }}");
            let messages = tables::load(&all(), &text).err().unwrap_or_default();
            assert_eq!(messages, [sentence], "{text}");
        }
    }
}
