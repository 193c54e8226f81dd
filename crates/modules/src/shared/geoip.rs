//! MaxMind's legacy databases (`GeoIP.dat` and its like): a binary tree of address bits, and records behind it.

use std::net::IpAddr;

/// A database in memory.
pub struct Database {
    bytes: Vec<u8>,
    /// MaxMind's number of the kind.
    pub number: u8,
    kind: Kind,
    /// Nodes of the tree; a link to a higher number leads out of it.
    segments: usize,
    /// Bytes of a link.
    link: usize,
}

/// What a database is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Country,
    CountryV6,
    /// `has_codes`: places of the United States have codes of their own.
    City {
        is_v6: bool,
        has_codes: bool,
    },
    Organization {
        is_v6: bool,
    },
    Other,
}

impl Kind {
    fn of(number: u8) -> Kind {
        match number {
            1 => Kind::Country,
            12 => Kind::CountryV6,
            2 => Kind::City { is_v6: false, has_codes: true },
            6 => Kind::City { is_v6: false, has_codes: false },
            30 => Kind::City { is_v6: true, has_codes: true },
            31 => Kind::City { is_v6: true, has_codes: false },
            // Providers, organizations, autonomous systems, domains.
            4 | 5 | 9 | 11 => Kind::Organization { is_v6: false },
            21..=24 => Kind::Organization { is_v6: true },
            _ => Kind::Other,
        }
    }

    pub fn is_v6(self) -> bool {
        matches!(
            self,
            Kind::CountryV6 | Kind::City { is_v6: true, .. } | Kind::Organization { is_v6: true }
        )
    }
}

/// A country, as the databases number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    pub code: &'static str,
    pub code3: &'static str,
    pub continent: &'static str,
    pub name: &'static str,
}

/// A record of a city database.
#[derive(Clone, Debug, PartialEq)]
pub struct City<'d> {
    pub country: Country,
    /// FIPS 10-4, or ISO 3166-2 in the United States and Canada.
    pub region: &'d [u8],
    pub name: &'d [u8],
    pub postal_code: &'d [u8],
    /// Ten-thousandths of a degree.
    pub latitude: i32,
    pub longitude: i32,
    pub dma_code: u32,
    pub area_code: u32,
}

/// The tree of a country database has so many nodes at most; records are the numbers above.
const COUNTRIES: usize = 0xff_ff00;

/// How far from its end a database tells what it is.
const INFO: usize = 20;

impl Database {
    /// `None` where the bytes are no database.
    pub fn read(bytes: Vec<u8>) -> Option<Database> {
        let info = bytes.len().saturating_sub(INFO + 3);
        let mark = memchr::memmem::rfind(&bytes[info..], &[0xff; 3]);
        let told = mark.and_then(|mark| bytes.get(info + mark + 3..));
        let (number, rest) = match told.and_then(<[u8]>::split_first) {
            // Numbers have a second range.
            Some((number, rest)) => (if *number >= 106 { number - 105 } else { *number }, rest),
            None => (1, &[][..]),
        };
        let kind = Kind::of(number);
        let segments = match kind {
            Kind::Country | Kind::CountryV6 | Kind::Other => COUNTRIES,
            _ => little_endian(rest.get(..3)?),
        };
        // Autonomous systems have the short links.
        let link = match kind {
            Kind::Organization { .. } if !matches!(number, 9 | 21) => 4,
            _ => 3,
        };
        Some(Database { bytes, number, kind, segments, link })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `None` too for an address that belongs to no country.
    pub fn country(&self, client: Option<IpAddr>) -> Option<Country> {
        match self.seek(client)?.checked_sub(self.segments)? {
            0 => None,
            number => country(number),
        }
    }

    pub fn city(&self, client: Option<IpAddr>) -> Option<City<'_>> {
        let record = self.record(client)?;
        let (&number, rest) = record.split_first()?;
        let country = country(usize::from(number))?;
        let (region, rest) = text(rest)?;
        let (name, rest) = text(rest)?;
        let (postal_code, rest) = text(rest)?;
        let degrees = |at: usize| Some(little_endian(rest.get(at..at + 3)?) as i32 - 1_800_000);
        let has_codes = matches!(self.kind, Kind::City { has_codes: true, .. });
        let codes = match has_codes && country.code == "US" {
            true => little_endian(rest.get(6..9)?) as u32,
            false => 0,
        };
        Some(City {
            country,
            region,
            name,
            postal_code,
            latitude: degrees(0)?,
            longitude: degrees(3)?,
            dma_code: codes / 1000,
            area_code: codes % 1000,
        })
    }

    pub fn organization(&self, client: Option<IpAddr>) -> Option<&[u8]> {
        Some(text(self.record(client)?)?.0)
    }

    fn record(&self, client: Option<IpAddr>) -> Option<&[u8]> {
        let found = self.seek(client)?.checked_sub(self.segments)?;
        if found == 0 {
            return None;
        }
        // The first number above the tree stands for no record.
        self.bytes.get(2 * self.link * self.segments + found..)
    }

    /// Follows an address bit by bit to a number above the tree.
    fn seek(&self, client: Option<IpAddr>) -> Option<usize> {
        let (bits, count) = match (self.kind.is_v6(), client) {
            (true, Some(IpAddr::V4(v4))) => (v4.to_ipv6_mapped().to_bits(), 128),
            (true, Some(IpAddr::V6(v6))) => (v6.to_bits(), 128),
            (true, None) => (0, 128),
            (false, Some(IpAddr::V4(v4))) => (u128::from(v4.to_bits()), 32),
            (false, _) => (u128::from(u32::MAX), 32),
        };
        let mut node = 0;
        for bit in (0..count).rev() {
            let side = usize::from(bits >> bit & 1 == 1);
            let at = (2 * node + side) * self.link;
            node = little_endian(self.bytes.get(at..at + self.link)?);
            if node >= self.segments {
                return Some(node);
            }
        }
        None
    }
}

fn little_endian(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// Text up to a NUL, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Code, three-letter code, continent and name of each country, by its number.
const COUNTRY_LIST: &str = include_str!("../../data/geoip-countries.tsv");

fn country(number: usize) -> Option<Country> {
    let mut fields = COUNTRY_LIST.lines().nth(number)?.split('\t');
    Some(Country {
        code: fields.next()?,
        code3: fields.next()?,
        continent: fields.next()?,
        name: fields.next()?,
    })
}

/// Country and region, and the region's name, a line each.
const REGION_LIST: &str = include_str!("../../data/geoip-regions.tsv");

pub fn region_name(country: &str, region: &[u8]) -> Option<&'static str> {
    let key = [b"\n", country.as_bytes(), region, b"\t"].concat();
    let at = memchr::memmem::find(REGION_LIST.as_bytes(), &key)?;
    REGION_LIST[at + key.len()..].lines().next()
}

/// Databases are written in ISO 8859-1.
pub fn utf8_of(latin1: &[u8]) -> String {
    latin1.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree in which one IPv4 address leads out by `link` at its last bit, everything else to `nowhere`.
    fn tree(address: u32, width: usize, link: u32, nowhere: u32) -> Vec<u8> {
        let node = |value: u32| value.to_le_bytes()[..width].to_vec();
        let nodes = (0..32u32).flat_map(|depth| {
            let next = if depth == 31 { link } else { depth + 1 };
            match address >> (31 - depth) & 1 {
                0 => [node(next), node(nowhere)].concat(),
                _ => [node(nowhere), node(next)].concat(),
            }
        });
        nodes.collect()
    }

    const HERE: u32 = 0x0a00_0001;

    fn client(address: &str) -> Option<IpAddr> {
        address.parse().ok()
    }

    #[test]
    fn a_country_is_a_number_above_the_tree() {
        let mut bytes = tree(HERE, 3, 0xff_ffb9, 0xff_ff00);
        bytes.extend([0, 0, 0, 0xff, 0xff, 0xff, 1]);
        let database = Database::read(bytes).unwrap();
        let found = database.country(client("10.0.0.1")).unwrap();
        assert_eq!((found.code, found.code3, found.name), ("RU", "RUS", "Russian Federation"));
        assert_eq!(database.country(client("10.0.0.2")), None);
        assert_eq!(database.country(client("::1")), None);
    }

    #[test]
    fn a_city_is_a_record_behind_the_tree() {
        let mut bytes = tree(HERE, 3, 33, 32);
        bytes.push(0);
        bytes.push(225);
        bytes.extend(b"CA\0San Diego\x0092101\0");
        for number in [2_127_157u32, 628_382, 825_619] {
            bytes.extend(&number.to_le_bytes()[..3]);
        }
        bytes.extend([0, 0, 0, 0xff, 0xff, 0xff, 2, 32, 0, 0]);
        let database = Database::read(bytes).unwrap();
        let city = database.city(client("10.0.0.1")).unwrap();
        assert_eq!(
            (city.country.code, city.region, city.name),
            ("US", &b"CA"[..], &b"San Diego"[..])
        );
        assert_eq!((city.latitude, city.longitude), (327_157, -1_171_618));
        assert_eq!((city.dma_code, city.area_code), (825, 619));
        assert_eq!(region_name("US", city.region), Some("California"));
        assert_eq!(database.city(client("10.0.0.2")), None);
    }

    #[test]
    fn an_organization_is_a_text_behind_the_tree() {
        let mut bytes = tree(HERE, 4, 33, 32);
        bytes.push(0);
        bytes.extend(b"\xc4rzte\0\xff\xff\xff\x05\x20\0\0");
        let database = Database::read(bytes).unwrap();
        let name = database.organization(client("10.0.0.1")).unwrap();
        assert_eq!(utf8_of(name), "Ärzte");
        assert_eq!(database.organization(client("10.0.0.9")), None);
    }

    #[test]
    fn a_broken_database_knows_nobody() {
        let database =
            Database::read(vec![1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1]).unwrap();
        assert_eq!(database.country(client("10.0.0.1")), None);
        assert!(Database::read(b"\xff\xff\xff\x02\x01".to_vec()).is_none());
    }
}
