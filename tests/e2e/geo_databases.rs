//! Variables from databases of addresses: MaxMind's legacy ones and its DB files.

use daemun_tests::{Server, Setup};

/// The only address that the databases know.
const KNOWN: [u8; 4] = [192, 0, 2, 1];

/// Pairs of links along the bits of [`KNOWN`]: `known` at their end, `nowhere` beside them.
fn links(known: u32, nowhere: u32) -> Vec<[u32; 2]> {
    let address = u32::from_be_bytes(KNOWN);
    let pair = |depth: u32| {
        let next = if depth == 31 { known } else { depth + 1 };
        match address >> (31 - depth) & 1 {
            0 => [next, nowhere],
            _ => [nowhere, next],
        }
    };
    (0..32).map(pair).collect()
}

/// A legacy database: links of so many bytes, records, and behind a mark what it is.
fn legacy(kind: u8, width: usize, records: &[u8]) -> Vec<u8> {
    let links = links(33, 32).into_iter().flatten();
    let mut bytes: Vec<u8> = links.flat_map(|link| link.to_le_bytes()[..width].to_vec()).collect();
    bytes.push(0);
    bytes.extend(records);
    bytes.extend([0xff, 0xff, 0xff, kind, 32, 0, 0]);
    bytes
}

fn countries() -> Vec<u8> {
    let links = links(0xff_ff00 + 225, 0xff_ff00).into_iter().flatten();
    let mut bytes: Vec<u8> = links.flat_map(|link| link.to_le_bytes()[..3].to_vec()).collect();
    bytes.extend([0xff, 0xff, 0xff, 1]);
    bytes
}

fn cities() -> Vec<u8> {
    let mut record = vec![225];
    record.extend(b"CA\0San Jos\xe9\0\0");
    for number in [2_173_394u32, 581_053, 807_408] {
        record.extend(&number.to_le_bytes()[..3]);
    }
    legacy(2, 3, &record)
}

fn asked(server: &Server, uri: &str, address: &str) -> String {
    let field = format!("X-Forwarded-For: {address}");
    server.get_with(uri, &[&field]).text().to_owned()
}

#[test]
fn legacy_databases_tell_country_city_and_organization() {
    let setup = Setup::new()
        .file("country.dat", countries())
        .file("city.dat", cities())
        .file("org.dat", legacy(5, 4, b"Example\0"));
    let server = setup.http(
        "geoip_country {dir}/country.dat;
         geoip_city {dir}/city.dat utf8;
         geoip_org {dir}/org.dat;
         geoip_proxy 127.0.0.1;
         geoip_proxy_recursive on;
         server {
             listen 127.0.0.1:{port};
             location /country { return 200 \"$geoip_country_code $geoip_country_code3 $geoip_country_name\"; }
             location /city { return 200 \"$geoip_city_continent_code $geoip_city_country_code \
                 $geoip_region $geoip_region_name $geoip_city [$geoip_postal_code] \
                 $geoip_latitude $geoip_longitude $geoip_dma_code $geoip_area_code\"; }
             location /org { return 200 \"$geoip_org\"; }
         }",
    );
    assert_eq!(asked(&server, "/country", "192.0.2.1"), "US USA United States");
    assert_eq!(asked(&server, "/country", "::ffff:192.0.2.1"), "US USA United States");
    assert_eq!(asked(&server, "/country", "192.0.2.2"), "  ");
    let city = asked(&server, "/city", "192.0.2.1, 127.0.0.1");
    let words: Vec<&str> = city.split_whitespace().collect();
    let expected = "NA US CA California San José [] 37.3394 -121.8947 807 408";
    assert_eq!(words.join(" "), expected);
    assert_eq!(asked(&server, "/org", "192.0.2.1"), "Example");
    assert_eq!(asked(&server, "/org", "192.0.2.9"), "");
}

#[test]
fn other_files_are_no_databases() {
    for (text, sentence) in [
        ("geoip_country {dir}/missing.dat;", "missing.dat\") failed"),
        ("geoip_city {dir}/country.dat;", "country.dat\" type:1"),
        ("geoip_country {dir}/country.dat latin1;", "invalid parameter \"latin1\""),
        ("geoip2 {dir}/country.dat { $x a; }", "country.dat\") failed - "),
    ] {
        let setup = Setup::new().file("country.dat", countries());
        let text = format!("events {{ }} http {{ {text} server {{ listen {{port}}; }} }}");
        let output = setup.run(&text, &["-t"]);
        assert!(output.stderr.contains(sentence), "{text}: {}", output.stderr);
    }
}

fn text(value: &str) -> Vec<u8> {
    [&[0x40 | value.len() as u8], value.as_bytes()].concat()
}

/// Of the types 1 to 7, with a length.
fn sized(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind << 5 | bytes.len() as u8], bytes].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let fields = entries.iter().flat_map(|(key, value)| [text(key), value.clone()]);
    [vec![0xe0 | entries.len() as u8], fields.flatten().collect()].concat()
}

fn list(values: &[Vec<u8>]) -> Vec<u8> {
    [vec![values.len() as u8, 4], values.concat()].concat()
}

/// A MaxMind DB of one address, whose country is `country`.
fn mmdb(country: &str) -> Vec<u8> {
    const NODES: u32 = 32;
    let links = links(NODES + 16, NODES).into_iter().flatten();
    let tree = links.flat_map(|link| link.to_be_bytes()[1..].to_vec());
    let record = map(&[
        ("country", map(&[("iso_code", text(country))])),
        ("names", list(&[text("first"), text("second")])),
        ("latitude", sized(3, &1.5f64.to_be_bytes())),
        ("number", sized(6, &[1, 0])),
        ("is_known", vec![1, 7]),
    ]);
    let metadata = map(&[
        ("binary_format_major_version", sized(5, &[2])),
        ("binary_format_minor_version", sized(5, &[])),
        ("build_epoch", vec![2, 2, 1, 0]),
        ("database_type", text("Test")),
        ("description", map(&[])),
        ("ip_version", sized(5, &[4])),
        ("languages", list(&[])),
        ("node_count", sized(6, &[32])),
        ("record_size", sized(5, &[24])),
    ]);
    let mark = b"\xab\xcd\xefMaxMind.com".to_vec();
    [tree.collect(), vec![0; 16], record, mark, metadata].concat()
}

#[test]
fn a_maxmind_db_defines_variables() {
    let server = Setup::new().file("test.mmdb", mmdb("NZ")).http(
        "geoip2 {dir}/test.mmdb {
             $epoch metadata build_epoch;
             $kind metadata database_type;
             $country default=none country iso_code;
             $second names 1;
             $latitude latitude;
             $number number;
             $known is_known;
             $other source=$arg_ip country iso_code;
             $whole country;
         }
         geoip2_proxy 127.0.0.1;
         geoip2_proxy_recursive on;
         server {
             listen 127.0.0.1:{port};
             return 200 \"$epoch $kind $country $second $latitude $number $known $other$whole\";
         }",
    );
    assert_eq!(asked(&server, "/", "192.0.2.1"), "256 Test NZ second 1.50000 256 1 ");
    assert_eq!(asked(&server, "/?ip=192.0.2.1", "192.0.2.2"), "256 Test none     NZ");
}

#[test]
fn a_newer_file_is_read_again() {
    let server = Setup::new().file("test.mmdb", mmdb("NZ")).http(
        "geoip2 {dir}/test.mmdb { auto_reload 0; $country source=192.0.2.1 country iso_code; }
         server { listen 127.0.0.1:{port}; return 200 $country; }",
    );
    assert_eq!(server.get("/").text(), "NZ");
    server.folder().write("new.mmdb", mmdb("AQ"));
    let path = |name: &str| server.folder().path(name);
    let file = std::fs::File::options().write(true).open(path("new.mmdb")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    std::fs::rename(path("new.mmdb"), path("test.mmdb")).unwrap();
    assert_eq!(server.get("/").text(), "AQ");
}
