//! `geoip_country`, `geoip_city`, `geoip_org`: variables about the client's address, from MaxMind's legacy databases.
//!
//! ```nginx
//! geoip_proxy           192.0.2.0/24;
//! geoip_proxy_recursive on;
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use daemun_conf as conf;
use daemun_core::cidr::Cidr;
use daemun_core::load::{Fault, Loader};
use daemun_core::module::{Module, SettingsKey};
use daemun_core::script::Session;
use daemun_core::{directives, set, settings, values};
use daemun_http::module::{HttpModule, Variable};
use daemun_http::request::Request;

use crate::shared::geoip::{self, City, Country, Database, Kind};
use crate::shared::{forwarded, network};

/// A database, and whether its texts are wanted in UTF-8.
#[derive(Clone)]
struct Source {
    database: Arc<Database>,
    in_utf8: bool,
}

settings! {
    pub struct Settings {
        country: Option<Source> = None,
        city: Option<Source> = None,
        organization: Option<Source> = None,
        proxies: Vec<Cidr> = Vec::new(),
        is_recursive: bool = false,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: HttpModule = HttpModule {
    base: Module {
        name: "http_geoip_module",
        settings: Some(&SETTINGS),
        directives: directives! {
            "geoip_country" in HTTP, Between(1, 2), "", Action::Set(geoip_country),
                "The legacy database of countries.";
            "geoip_city" in HTTP, Between(1, 2), "", Action::Set(geoip_city),
                "The legacy database of countries, regions and cities.";
            "geoip_org" in HTTP, Between(1, 2), "", Action::Set(geoip_org),
                "The legacy database of organizations.";
            "geoip_proxy" in HTTP, Exactly(1), "", Action::Set(geoip_proxy),
                "An address or range that is trusted to name its clients by X-Forwarded-For.";
            "geoip_proxy_recursive" in HTTP, Flag, "off",
                set!(SETTINGS.is_recursive, values::flag),
                "Whether trusted addresses in a list are passed over.";
        },
    },
    variables: &[
        Variable::new("geoip_country_code", |r, _, out| country(r, out, |found| found.code)),
        Variable::new("geoip_country_code3", |r, _, out| country(r, out, |found| found.code3)),
        Variable::new("geoip_country_name", |r, _, out| country(r, out, |found| found.name)),
        Variable::new("geoip_org", organization),
        Variable::new("geoip_city_continent_code", |r, _, out| {
            of_city(r, out, |city, out| append(city.country.continent, out))
        }),
        Variable::new("geoip_city_country_code", |r, _, out| {
            of_city(r, out, |city, out| append(city.country.code, out))
        }),
        Variable::new("geoip_city_country_code3", |r, _, out| {
            of_city(r, out, |city, out| append(city.country.code3, out))
        }),
        Variable::new("geoip_city_country_name", |r, _, out| {
            of_city(r, out, |city, out| append(city.country.name, out))
        }),
        Variable::new("geoip_region", |r, _, out| {
            of_city(r, out, |city, out| append_known(city.region, out))
        }),
        Variable::new("geoip_region_name", |r, _, out| {
            of_city(r, out, |city, out| {
                let name = geoip::region_name(city.country.code, city.region);
                name.is_some_and(|name| append(name, out))
            })
        }),
        Variable::new("geoip_city", |r, _, out| {
            let in_utf8 = source(r, |settings| &settings.city).is_some_and(|source| source.in_utf8);
            of_city(r, out, |city, out| match in_utf8 {
                true => append_known(geoip::utf8_of(city.name).as_bytes(), out),
                false => append_known(city.name, out),
            })
        }),
        Variable::new("geoip_postal_code", |r, _, out| {
            of_city(r, out, |city, out| append_known(city.postal_code, out))
        }),
        Variable::new("geoip_latitude", |r, _, out| {
            of_city(r, out, |city, out| append(&degrees(city.latitude), out))
        }),
        Variable::new("geoip_longitude", |r, _, out| {
            of_city(r, out, |city, out| append(&degrees(city.longitude), out))
        }),
        Variable::new("geoip_dma_code", |r, _, out| {
            of_city(r, out, |city, out| append(&city.dma_code.to_string(), out))
        }),
        Variable::new("geoip_area_code", |r, _, out| {
            of_city(r, out, |city, out| append(&city.area_code.to_string(), out))
        }),
    ],
    ..HttpModule::EMPTY
};

fn source(
    request: &Request,
    of: fn(&'static Settings) -> &'static Option<Source>,
) -> Option<&'static Source> {
    of(request.settings(&SETTINGS)).as_ref()
}

fn client(request: &Request) -> Option<IpAddr> {
    let settings = request.settings(&SETTINGS);
    let values = match settings.proxies.is_empty() {
        true => Vec::new(),
        false => request.forwarded_for(),
    };
    let peer = request.peer();
    let behind = forwarded::client_behind(peer, &values, &settings.proxies, *settings.is_recursive);
    behind.unwrap_or(peer).ip().map(|ip| ip.to_canonical())
}

fn country(request: &Request, out: &mut Vec<u8>, field: fn(&Country) -> &'static str) -> bool {
    let source = source(request, |settings| &settings.country);
    let found = source.and_then(|source| source.database.country(client(request)));
    found.is_some_and(|found| append(field(&found), out))
}

fn organization(request: &mut Request, _: &str, out: &mut Vec<u8>) -> bool {
    let Some(source) = source(request, |settings| &settings.organization) else {
        return false;
    };
    match source.database.organization(client(request)) {
        Some(name) if source.in_utf8 => append(&geoip::utf8_of(name), out),
        Some(name) => {
            out.extend_from_slice(name);
            true
        }
        None => false,
    }
}

fn of_city(
    request: &Request,
    out: &mut Vec<u8>,
    field: impl Fn(&City<'_>, &mut Vec<u8>) -> bool,
) -> bool {
    let source = source(request, |settings| &settings.city);
    let city = source.and_then(|source| source.database.city(client(request)));
    city.is_some_and(|city| field(&city, out))
}

fn append(text: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text.as_bytes());
    true
}

/// What is empty is not known.
fn append_known(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(text);
    !text.is_empty()
}

fn degrees(ten_thousandths: i32) -> String {
    format!("{:.4}", f64::from(ten_thousandths) / 10_000.0)
}

fn geoip_country(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let fits = |kind| matches!(kind, Kind::Country | Kind::CountryV6);
    let source = open(loader, directive, fits)?;
    loader.settings(&SETTINGS).country.set(Some(source))?;
    Ok(())
}

fn geoip_city(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let source = open(loader, directive, |kind| matches!(kind, Kind::City { .. }))?;
    loader.settings(&SETTINGS).city.set(Some(source))?;
    Ok(())
}

fn geoip_org(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let source = open(loader, directive, |kind| matches!(kind, Kind::Organization { .. }))?;
    loader.settings(&SETTINGS).organization.set(Some(source))?;
    Ok(())
}

fn open(
    loader: &Loader<'_>,
    directive: &conf::Directive,
    fits: fn(Kind) -> bool,
) -> Result<Source, Fault> {
    let word = &directive.args[0];
    let fault = |sentence: String| Fault::from(sentence).at(word.span);
    let path = word.as_str().map(|path| loader.paths.in_conf(path));
    let bytes = path.ok().and_then(|path| std::fs::read(path).ok());
    let database = bytes.and_then(Database::read);
    let database = database.ok_or_else(|| fault(format!("GeoIP_open(\"{word}\") failed")))?;
    let in_utf8 = match directive.args.get(1) {
        None => false,
        Some(charset) if charset == "utf8" => true,
        Some(charset) => {
            return Err(Fault::from(format!("invalid parameter \"{charset}\"")).at(charset.span));
        }
    };
    match database.kind() {
        kind if fits(kind) => Ok(Source { database: Arc::new(database), in_utf8 }),
        _ => {
            let number = database.number;
            Err(fault(format!("invalid GeoIP database \"{word}\" type:{number}")))
        }
    }
}

fn geoip_proxy(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let proxy = network(loader, &directive.args[0])?;
    loader.settings(&SETTINGS).proxies.modify().push(proxy);
    Ok(())
}
