//! The directives that protocols have in common, each under the protocol's prefix.

use std::net::SocketAddr;

use bytes::Bytes;
use daemun_conf as conf;
use daemun_conf::Word;
use daemun_core::address;
use daemun_core::load::{Fault, Loader};
use daemun_core::values;

use super::cache::settings::Zone;
use super::settings::{Bind, BindAddress, Failures, Ignored, Settings};
use super::store::Place;
use crate::core::sending::{self, Amount};

/// A table of common directives: `upstream_directives!("proxy_", SETTINGS.common: connecting requests responses)`.
/// The groups are those that the protocol has.
#[macro_export]
macro_rules! upstream_directives {
    ($prefix:literal, $key:ident . $field:ident: $($group:ident)+) => {
        $crate::upstream_directives!(@rows [$prefix $key $field] [] $($group)+)
    };
    (@rows $at:tt [$($row:expr,)*]) => {{
        const ROWS: &[::daemun_core::module::Directive] = &[$($row,)*];
        ROWS
    }};
    (@rows [$($at:tt)+] [$($row:expr,)*] connecting $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "bind" Between(1, 2), "",
                bind = directives::bind,
                "The address that connections to upstreams come from."),
            $crate::upstream_row!($($at)+ "socket_keepalive" Flag, "off",
                socket_keepalive = directives::flag,
                "Has the system test connections that are silent."),
            $crate::upstream_row!($($at)+ "socket_rcvbuf" Exactly(1), "",
                socket_rcvbuf = directives::size,
                "The size of the system's buffer for what is received."),
            $crate::upstream_row!($($at)+ "socket_sndbuf" Exactly(1), "",
                socket_sndbuf = directives::size,
                "The size of the system's buffer for what is sent."),
            $crate::upstream_row!($($at)+ "connect_timeout" Exactly(1), "60s",
                connect_timeout = directives::milliseconds,
                "How long connecting may take."),
            $crate::upstream_row!($($at)+ "send_timeout" Exactly(1), "60s",
                send_timeout = directives::milliseconds,
                "How long an upstream may take nothing of a request."),
            $crate::upstream_row!($($at)+ "read_timeout" Exactly(1), "60s",
                read_timeout = directives::milliseconds,
                "How long an upstream may pause while it answers."),
            $crate::upstream_row!($($at)+ "buffer_size" Exactly(1), "4k",
                buffer_size = directives::size,
                "How long the head of a response may be."),
            $crate::upstream_row!($($at)+ "next_upstream_tries" Exactly(1), "0",
                next_upstream_tries = directives::integer,
                "How many servers are asked at most; 0 is no limit."),
            $crate::upstream_row!($($at)+ "next_upstream_timeout" Exactly(1), "0",
                next_upstream_timeout = directives::milliseconds,
                "How long after the first server another one may be asked; 0 is no limit."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] requests $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "request_buffering" Flag, "on",
                request_buffering = directives::flag,
                "Reads a request's body whole before it is passed on."),
            $crate::upstream_row!($($at)+ "ignore_client_abort" Flag, "off",
                ignore_client_abort = directives::flag,
                "Goes on with a request whose client has gone."),
            $crate::upstream_row!($($at)+ "pass_request_headers" Flag, "on",
                pass_request_headers = directives::flag,
                "Passes the header fields of requests on."),
            $crate::upstream_row!($($at)+ "pass_request_body" Flag, "on",
                pass_request_body = directives::flag,
                "Passes the bodies of requests on."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] responses $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "buffering" Flag, "on",
                buffering = directives::flag,
                "Reads a response ahead of a client that takes it slowly."),
            $crate::upstream_row!($($at)+ "flush_idle" Flag, "on",
                flush_idle = directives::flag,
                "Sends what has come of a response as soon as nothing more is there."),
            $crate::upstream_row!($($at)+ "buffers" Exactly(2), "8 4k",
                buffers = directives::buffers,
                "How much of a response may wait in memory."),
            $crate::upstream_row!($($at)+ "busy_buffers_size" Exactly(1), "8k",
                busy_buffers_size = directives::some_size,
                "How much of a response may be on its way to the client."),
            $crate::upstream_row!($($at)+ "max_temp_file_size" Exactly(1), "1024m",
                max_temp_file_size = directives::some_offset,
                "How much of a response may wait in a file; 0 is nothing."),
            $crate::upstream_row!($($at)+ "temp_file_write_size" Exactly(1), "8k",
                temp_file_write_size = directives::some_size,
                "How much is written to a file at a time."),
            $crate::upstream_row!($($at)+ "temp_path" Between(1, 4), "",
                temp_path = directives::temp_path,
                "Where responses wait in files, with up to three levels of folders."),
            $crate::upstream_row!($($at)+ "limit_rate" Exactly(1), "0",
                limit_rate = directives::amount,
                "How many bytes a second of a response are read; 0 is no limit."),
            $crate::upstream_row!($($at)+ "force_ranges" Flag, "off",
                force_ranges = directives::flag,
                "Cuts responses into ranges whether or not the upstream can."),
        ] fields $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] fields $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "pass_header" Exactly(1), "",
                pass_headers += directives::name,
                "A field of responses that is passed to clients, though it usually is not."),
            $crate::upstream_row!($($at)+ "hide_header" Exactly(1), "",
                hide_headers += directives::name,
                "A field of responses that is not passed to clients."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] stores $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_store_row!($($at)+),
            $crate::upstream_row!($($at)+ "store_access" Between(1, 3), "user:rw",
                store_access = directives::access,
                "Who may read and write the files of responses, and their folders."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] tls $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "ssl_session_reuse" Flag, "on",
                ssl_session_reuse = directives::flag,
                "Goes on with sessions of earlier connections."),
            $crate::upstream_row!($($at)+ "ssl_protocols" AtLeast(1), "TLSv1.2 TLSv1.3",
                ssl_protocols = directives::tls_versions,
                "The versions of TLS that are spoken to upstreams."),
            $crate::upstream_row!($($at)+ "ssl_ciphers" Exactly(1), "DEFAULT",
                ssl_ciphers = directives::text,
                "The cipher suites of TLS 1.2, in OpenSSL's words."),
            $crate::upstream_row!($($at)+ "ssl_name" Exactly(1), "",
                ssl_name = directives::some_script,
                "The name that upstreams are asked for, and have to prove."),
            $crate::upstream_row!($($at)+ "ssl_server_name" Flag, "off",
                ssl_server_name = directives::flag,
                "Tells upstreams which name is meant."),
            $crate::upstream_row!($($at)+ "ssl_verify" Flag, "off",
                ssl_verify = directives::flag,
                "Has upstreams prove who they are."),
            $crate::upstream_row!($($at)+ "ssl_verify_depth" Exactly(1), "1",
                ssl_verify_depth = directives::integer,
                "How long the chain of an upstream's certificate may be."),
            $crate::upstream_row!($($at)+ "ssl_trusted_certificate" Exactly(1), "",
                ssl_trusted_certificate = directives::some_word,
                "A file with the authorities that upstreams' certificates may come from."),
            $crate::upstream_row!($($at)+ "ssl_crl" Exactly(1), "",
                ssl_crl = directives::some_word,
                "A file with lists of certificates that were revoked."),
            $crate::upstream_row!($($at)+ "ssl_certificate" Exactly(1), "",
                ssl_certificate = directives::some_source,
                "A file with the certificate for upstreams that ask for one."),
            $crate::upstream_row!($($at)+ "ssl_certificate_key" Exactly(1), "",
                ssl_certificate_key = directives::some_source,
                "A file with the private key of that certificate."),
            $crate::upstream_row!($($at)+ "ssl_certificate_cache" Between(1, 3), "off",
                ssl_certificate_cache = directives::certificate_cache,
                "How long certificates from variables are remembered."),
            $crate::upstream_row!($($at)+ "ssl_password_file" Exactly(1), "",
                ssl_password_file = directives::some_word,
                "A file with a passphrase for private keys on each line."),
            $crate::upstream_row!($($at)+ "ssl_conf_command" Exactly(2), "",
                ssl_conf_commands += directives::pair,
                "A setting by its name in OpenSSL."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] errors $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "intercept_errors" Flag, "off",
                intercept_errors = directives::flag,
                "Answers errors of upstreams by error_page."),
            $crate::upstream_row!($($at)+ "ignore_headers" AtLeast(1), "",
                ignore_headers |= directives::ignored,
                "Fields of responses that have no effect."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] next_http $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "next_upstream" AtLeast(1), "error timeout",
                next_upstream |= directives::failures_of_http,
                "What makes a request go to the next server."),
            $crate::upstream_row!($($at)+ "cache_use_stale" AtLeast(1), "off",
                cache.use_stale |= directives::stale_of_http,
                "Failures after which a stale response is served."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] next_grpc $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "next_upstream" AtLeast(1), "error timeout",
                next_upstream = directives::failures_of_grpc,
                "What makes a request go to the next server."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] next_gateway $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "next_upstream" AtLeast(1), "error timeout",
                next_upstream |= directives::failures_of_gateway,
                "What makes a request go to the next server."),
            $crate::upstream_row!($($at)+ "cache_use_stale" AtLeast(1), "off",
                cache.use_stale |= directives::stale_of_gateway,
                "Failures after which a stale response is served."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] next_memcached $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "next_upstream" AtLeast(1), "error timeout",
                next_upstream |= directives::failures_of_memcached,
                "What makes a request go to the next server."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] next_tunnel $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_row!($($at)+ "next_upstream" AtLeast(1), "error timeout",
                next_upstream |= directives::failures_of_tunnel,
                "What makes a request go to the next server."),
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] send_lowat $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            ::daemun_core::module::Directive {
                name: concat!($crate::upstream_directives!(@prefix $($at)+), "send_lowat"),
                contexts: ::daemun_core::module::Contexts::HTTP_SERVER_LOCATION,
                arguments: ::daemun_core::module::Arguments::Exactly(1),
                action: ::daemun_core::module::Action::Unsupported(|directive| {
                    ::daemun_core::values::size(directive).map(drop)
                }),
                default: "0",
                help: "Accepted, with a warning: this system has no such limit.",
            },
        ] $($rest)*)
    };
    (@rows [$($at:tt)+] [$($row:expr,)*] caches $($rest:ident)*) => {
        $crate::upstream_directives!(@rows [$($at)+] [$($row,)*
            $crate::upstream_cache_rows!($($at)+ zone),
            $crate::upstream_cache_rows!($($at)+ path),
            $crate::upstream_cache_rows!($($at)+ purge),
            $crate::upstream_row!($($at)+ "cache_key" Exactly(1), "",
                cache.key = directives::some_script,
                "The text under which a response is found again."),
            $crate::upstream_row!($($at)+ "cache_bypass" AtLeast(1), "",
                cache.bypass ++= cache::settings::predicates,
                "Values for which the cache is not asked: any but nothing and 0."),
            $crate::upstream_row!($($at)+ "no_cache" AtLeast(1), "",
                cache.no_cache ++= cache::settings::predicates,
                "Values for which a response is not stored: any but nothing and 0."),
            $crate::upstream_row!($($at)+ "cache_valid" AtLeast(1), "",
                cache.valid ++= cache::settings::valid,
                "How long responses are fresh that do not say so themselves, by their status."),
            $crate::upstream_row!($($at)+ "cache_min_uses" Exactly(1), "1",
                cache.min_uses = directives::integer,
                "How often a response is asked for until it is stored."),
            $crate::upstream_row!($($at)+ "cache_max_range_offset" Exactly(1), "",
                cache.max_range_offset = directives::some_offset,
                "From which offset on ranges are passed on, and nothing is stored."),
            $crate::upstream_row!($($at)+ "cache_methods" AtLeast(1), "GET HEAD",
                cache.methods |= cache::settings::methods,
                "The methods whose responses are stored."),
            $crate::upstream_row!($($at)+ "cache_lock" Flag, "off",
                cache.lock = directives::flag,
                "Has one request at a time fetch a response."),
            $crate::upstream_row!($($at)+ "cache_lock_follow" Flag, "off",
                cache.follow = directives::flag,
                "Sends a response to those who wait for it while it is still being stored."),
            $crate::upstream_row!($($at)+ "cache_lock_timeout" Exactly(1), "5s",
                cache.lock_timeout = directives::milliseconds,
                "How long a request waits for another's response."),
            $crate::upstream_row!($($at)+ "cache_lock_age" Exactly(1), "5s",
                cache.lock_age = directives::milliseconds,
                "How long others wait until one more of them asks the upstream."),
            $crate::upstream_row!($($at)+ "cache_revalidate" Flag, "off",
                cache.revalidate = directives::flag,
                "Asks upstreams whether a stale response is still true."),
            $crate::upstream_row!($($at)+ "cache_background_update" Flag, "off",
                cache.background_update = directives::flag,
                "Fetches a response while the stale one is served."),
            $crate::upstream_row!($($at)+ "cache_error_ttl" Exactly(1), "0",
                cache.error_ttl = directives::milliseconds,
                "How long a stale response is served without another try, once one has failed."),
        ] $($rest)*)
    };
    (@prefix $prefix:literal $key:ident $field:ident) => { $prefix };
}

/// A response is kept as a file, or in a cache.
#[doc(hidden)]
#[macro_export]
macro_rules! upstream_store_row {
    ($prefix:literal $key:ident $common:ident) => {
        $crate::upstream_row!(@row $prefix "store" Exactly(1), "off",
            "Keeps responses as files: where root has them, or at a path.", |loader, directive| {
                let place = $crate::upstream::directives::place(loader, directive)?;
                let common = &mut loader.settings(&$key).$common;
                $crate::upstream::directives::set_store(common, place, $prefix)
            })
    };
}

/// The rows that name a cache, and declare one.
#[doc(hidden)]
#[macro_export]
macro_rules! upstream_cache_rows {
    ($prefix:literal $key:ident $common:ident zone) => {
        $crate::upstream_row!(@row $prefix "cache" Exactly(1), "off",
            "The cache that responses are stored in.", |loader, directive| {
                let user = concat!("http_", $prefix, "module");
                let zone = $crate::upstream::cache::settings::zone(loader, directive, user)?;
                let common = &mut loader.settings(&$key).$common;
                $crate::upstream::cache::settings::set_zone(common, zone, $prefix)
            })
    };
    ($prefix:literal $key:ident $common:ident purge) => {
        $crate::upstream_row!(@row $prefix "cache_purge" AtLeast(1), "off",
            "Requests that remove responses, by a value or their method; or a zone and a key.",
            |loader, directive| {
                let user = concat!("http_", $prefix, "module");
                let rule = $crate::upstream::cache::purge::read(loader, directive, user)?;
                loader.settings(&$key).$common.cache.purge.set(rule)?;
                Ok(())
            })
    };
    ($prefix:literal $key:ident $common:ident path) => {
        ::daemun_core::module::Directive {
            contexts: ::daemun_core::module::Contexts::HTTP,
            ..$crate::upstream_row!(@row $prefix "cache_path" AtLeast(2), "",
                "Where a cache has its files, and its zone.", |loader, directive| {
                    let user = concat!("http_", $prefix, "module");
                    $crate::upstream::cache::place::declare(loader, directive, user)
                })
        }
    };
}

/// A row whose value is set once (`=`), added to what stands in the same block (`|=`), or added to a list (`+=`, of
/// several values `++=`).
#[doc(hidden)]
#[macro_export]
macro_rules! upstream_row {
    ($prefix:literal $key:ident $common:ident $name:literal $arguments:expr, $default:literal,
        $($field:ident).+ = $($read:ident)::+, $help:literal) => {
        $crate::upstream_row!(@row $prefix $name $arguments, $default, $help, |loader, directive| {
            let value = $crate::upstream::$($read)::+(loader, directive)?;
            loader.settings(&$key).$common.$($field).+.set(value)?;
            Ok(())
        })
    };
    ($prefix:literal $key:ident $common:ident $name:literal $arguments:expr, $default:literal,
        $($field:ident).+ |= $($read:ident)::+, $help:literal) => {
        $crate::upstream_row!(@row $prefix $name $arguments, $default, $help, |loader, directive| {
            let value = $crate::upstream::$($read)::+(loader, directive)?;
            let field = &mut loader.settings(&$key).$common.$($field).+;
            let value = if field.is_set() { **field | value } else { value };
            field.replace(value);
            Ok(())
        })
    };
    ($prefix:literal $key:ident $common:ident $name:literal $arguments:expr, $default:literal,
        $($field:ident).+ ++= $($read:ident)::+, $help:literal) => {
        $crate::upstream_row!(@row $prefix $name $arguments, $default, $help, |loader, directive| {
            let values = $crate::upstream::$($read)::+(loader, directive)?;
            loader.settings(&$key).$common.$($field).+.modify().extend(values);
            Ok(())
        })
    };
    ($prefix:literal $key:ident $common:ident $name:literal $arguments:expr, $default:literal,
        $field:ident += directives::$read:ident, $help:literal) => {
        $crate::upstream_row!(@row $prefix $name $arguments, $default, $help, |loader, directive| {
            let value = $crate::upstream::directives::$read(loader, directive)?;
            loader.settings(&$key).$common.$field.modify().push(value);
            Ok(())
        })
    };
    (@row $prefix:literal $name:literal $arguments:expr, $default:literal, $help:literal, $set:expr) => {
        ::daemun_core::module::Directive {
            name: concat!($prefix, $name),
            contexts: ::daemun_core::module::Contexts::HTTP_SERVER_LOCATION,
            arguments: {
                #[allow(unused_imports)]
                use ::daemun_core::module::Arguments::*;
                $arguments
            },
            action: ::daemun_core::module::Action::Set($set),
            default: $default,
            help: $help,
        }
    };
}

pub fn flag(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<bool, Fault> {
    values::flag(directive)
}

pub fn tls_versions(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Vec<daemun_tls::suite::Version>, Fault> {
    crate::tls::settings::versions(loader, directive)
}

pub fn text(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<String, Fault> {
    values::text(directive)
}

pub fn some_word(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<Word>, Fault> {
    Ok(Some(directive.args[0].clone()))
}

pub fn some_source(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Option<crate::tls::computed::Source>, Fault> {
    crate::tls::settings::source(loader, directive).map(Some)
}

pub fn certificate_cache(
    _: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Option<std::sync::Arc<crate::tls::computed::Cache>>, Fault> {
    crate::tls::settings::certificate_cache(directive)
}

pub fn some_script(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Option<daemun_core::script::Script>, Fault> {
    loader.script(&directive.args[0]).map(Some)
}

pub fn pair(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<(Word, Word), Fault> {
    Ok((directive.args[0].clone(), directive.args[1].clone()))
}

pub fn size(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<usize, Fault> {
    values::size(directive)
}

pub fn some_size(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<usize>, Fault> {
    values::size(directive).map(Some)
}

pub fn some_offset(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<u64>, Fault> {
    values::offset(directive).map(Some)
}

pub fn integer(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<usize, Fault> {
    values::integer(directive)
}

pub fn milliseconds(
    _: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<std::time::Duration, Fault> {
    values::milliseconds(directive)
}

pub fn buffers(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<(usize, usize), Fault> {
    values::buffers(directive)
}

pub fn temp_path(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Option<crate::core::client::TempPath>, Fault> {
    crate::core::client::temp_path(loader, directive).map(Some)
}

pub fn set_store(common: &mut Settings, place: Option<Place>, prefix: &str) -> Result<(), Fault> {
    let is_on = place.is_some();
    if is_on && common.cache.zone.is_set() && common.cache.is_on() {
        return Err(format!("is incompatible with \"{prefix}cache\"").into());
    }
    common.store.set(place)?;
    if is_on {
        common.cache.zone.replace(Zone::Off);
    }
    Ok(())
}

pub fn access(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<u32, Fault> {
    values::access(directive)
}

/// `on`, `off`, or a path.
pub fn place(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<Place>, Fault> {
    let word = &directive.args[0];
    match &*word.text {
        b"off" => Ok(None),
        b"on" => Ok(Some(Place::OfUri)),
        b"" => Err(Fault::from("empty path".to_owned()).at(word.span)),
        _ => loader.script(word).map(|script| Some(Place::Computed(script))),
    }
}

pub fn amount(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Amount, Fault> {
    sending::amount(loader, directive)
}

pub fn name(_: &mut Loader<'_>, directive: &conf::Directive) -> Result<Bytes, Fault> {
    Ok(Bytes::copy_from_slice(&directive.args[0].text))
}

/// `ADDRESS [transparent]`, or `off`.
pub fn bind(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Option<Bind>, Fault> {
    let word = &directive.args[0];
    if word == "off" && directive.args.len() == 1 {
        return Ok(None);
    }
    let script = loader.script(word)?;
    let address = match script.as_literal() {
        None => BindAddress::Computed(script),
        Some(text) => match parse_local(text) {
            Some(address) => BindAddress::Fixed(address),
            None => {
                return Err(Fault::from(format!("invalid address \"{word}\"")).at(word.span));
            }
        },
    };
    let is_transparent = match directive.args.get(1) {
        None => false,
        Some(word) if word == "transparent" => true,
        Some(word) => {
            return Err(Fault::from(format!("invalid parameter \"{word}\"")).at(word.span));
        }
    };
    Ok(Some(Bind { address, is_transparent }))
}

/// An address that may have a port.
pub fn parse_local(text: &[u8]) -> Option<SocketAddr> {
    let text = str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some((ip, port)) = text.split_once(':')
        && let Some(ip) = address::v4(ip)
    {
        return port.parse().ok().map(|port| SocketAddr::new(ip.into(), port));
    }
    let ip = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    address::ip(ip).map(|ip| SocketAddr::new(ip, 0))
}

const OF_HTTP: &[(&str, Failures)] = &[
    ("error", Failures::ERROR),
    ("timeout", Failures::TIMEOUT),
    ("invalid_header", Failures::INVALID_HEADER),
    ("non_idempotent", Failures::NON_IDEMPOTENT),
    ("http_500", Failures::HTTP_500),
    ("http_502", Failures::HTTP_502),
    ("http_503", Failures::HTTP_503),
    ("http_504", Failures::HTTP_504),
    ("http_403", Failures::HTTP_403),
    ("http_404", Failures::HTTP_404),
    ("http_429", Failures::HTTP_429),
    ("updating", Failures::UPDATING),
    ("off", Failures::OFF),
];

const OF_GRPC: &[(&str, Failures)] = &[
    ("error", Failures::ERROR),
    ("timeout", Failures::TIMEOUT),
    ("invalid_header", Failures::INVALID_HEADER),
    ("non_idempotent", Failures::NON_IDEMPOTENT),
    ("http_500", Failures::HTTP_500),
    ("http_502", Failures::HTTP_502),
    ("http_503", Failures::HTTP_503),
    ("http_504", Failures::HTTP_504),
    ("http_403", Failures::HTTP_403),
    ("http_404", Failures::HTTP_404),
    ("http_429", Failures::HTTP_429),
    ("off", Failures::OFF),
];

const OF_GATEWAY: &[(&str, Failures)] = &[
    ("error", Failures::ERROR),
    ("timeout", Failures::TIMEOUT),
    ("invalid_header", Failures::INVALID_HEADER),
    ("non_idempotent", Failures::NON_IDEMPOTENT),
    ("http_500", Failures::HTTP_500),
    ("http_503", Failures::HTTP_503),
    ("http_403", Failures::HTTP_403),
    ("http_404", Failures::HTTP_404),
    ("http_429", Failures::HTTP_429),
    ("updating", Failures::UPDATING),
    ("off", Failures::OFF),
];

const OF_MEMCACHED: &[(&str, Failures)] = &[
    ("error", Failures::ERROR),
    ("timeout", Failures::TIMEOUT),
    ("invalid_response", Failures::INVALID_HEADER),
    ("not_found", Failures::HTTP_404),
    ("off", Failures::OFF),
];

const OF_TUNNEL: &[(&str, Failures)] =
    &[("error", Failures::ERROR), ("timeout", Failures::TIMEOUT), ("off", Failures::OFF)];

pub fn failures_of_http(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_HTTP)
}

pub fn failures_of_grpc(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_GRPC)
}

pub fn failures_of_gateway(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_GATEWAY)
}

pub fn stale_of_http(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_HTTP).map(stale)
}

pub fn stale_of_gateway(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_GATEWAY).map(stale)
}

/// That nobody is left to ask is an error like others.
fn stale(failures: Failures) -> Failures {
    match failures.contains(Failures::ERROR) {
        true => failures | Failures::NO_LIVE,
        false => failures,
    }
}

pub fn failures_of_memcached(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_MEMCACHED)
}

pub fn failures_of_tunnel(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
) -> Result<Failures, Fault> {
    failures(loader, directive, OF_TUNNEL)
}

/// Any of the words; `off` undoes all others.
fn failures(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    words: &[(&str, Failures)],
) -> Result<Failures, Fault> {
    let all = flags(loader, directive, words, Failures::empty(), |all, one| {
        let is_new = !all.contains(one);
        *all |= one;
        is_new
    })?;
    Ok(if all.contains(Failures::OFF) { Failures::OFF } else { all })
}

pub fn ignored(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<Ignored, Fault> {
    const WORDS: &[(&str, Ignored)] = &[
        ("X-Accel-Redirect", Ignored::ACCEL_REDIRECT),
        ("X-Accel-Expires", Ignored::ACCEL_EXPIRES),
        ("X-Accel-Limit-Rate", Ignored::ACCEL_LIMIT_RATE),
        ("X-Accel-Buffering", Ignored::ACCEL_BUFFERING),
        ("X-Accel-Charset", Ignored::ACCEL_CHARSET),
        ("Expires", Ignored::EXPIRES),
        ("Cache-Control", Ignored::CACHE_CONTROL),
        ("Set-Cookie", Ignored::SET_COOKIE),
        ("Vary", Ignored::VARY),
        ("Age", Ignored::AGE),
    ];
    flags(loader, directive, WORDS, Ignored::empty(), |all, one| {
        let is_new = !all.contains(one);
        *all |= one;
        is_new
    })
}

fn flags<T: Copy>(
    loader: &mut Loader<'_>,
    directive: &conf::Directive,
    words: &[(&str, T)],
    mut all: T,
    add: impl Fn(&mut T, T) -> bool,
) -> Result<T, Fault> {
    for word in &directive.args {
        let known = words.iter().find(|(name, _)| is_word(word, name));
        let Some((_, one)) = known else {
            let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
            return Err(Fault::from(format!("invalid value \"{word}\""))
                .at(word.span)
                .help(format!("it may be {}", names.join(", "))));
        };
        if !add(&mut all, *one) {
            loader.warn(word.span, format!("duplicate value \"{word}\""));
        }
    }
    Ok(all)
}

fn is_word(word: &Word, name: &str) -> bool {
    word.text.eq_ignore_ascii_case(name.as_bytes())
}
