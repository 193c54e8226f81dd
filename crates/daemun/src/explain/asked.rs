//! The request to explain, as the command line has it.

use std::net::Ipv4Addr;

/// `GET http://HOST:PORT/PATH`, or `https://`; the method, and everything before the path, may be left out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub method: String,
    /// Whether it comes over TLS, where there is a URL.
    pub over_tls: Option<bool>,
    /// As the Host field has it, with a port that is not the scheme's.
    pub host: String,
    /// Where the URL names one.
    pub port: Option<u16>,
    pub target: String,
    /// `Name: value`.
    pub fields: Vec<String>,
}

impl Asked {
    pub fn read(request: &str, fields: &[String]) -> Result<Asked, String> {
        let (method, url) = match request.split_once(' ') {
            Some((method, url)) => (method, url.trim_start()),
            None => ("GET", request),
        };
        let invalid = || format!("\"{request}\" is no request: try 'GET http://localhost/path'");
        let (over_tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (Some(false), Some(rest)),
            (_, Some(rest)) => (Some(true), Some(rest)),
            _ => (None, None),
        };
        let (host, target) = match rest {
            None if url.starts_with('/') => ("localhost", url),
            None => return Err(invalid()),
            Some(rest) => match rest.find(['/', '?']) {
                Some(end) => rest.split_at(end),
                None => (rest, "/"),
            },
        };
        if host.is_empty() || [method, target].iter().any(|part| part.contains(char::is_whitespace))
        {
            return Err(invalid());
        }
        let port = match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => Some(port.parse().map_err(|_| invalid())?),
            _ => None,
        };
        if [request].into_iter().chain(fields.iter().map(|field| &**field)).any(has_control) {
            return Err("a request has no control characters: escape them, as in /a%0Ab".to_owned());
        }
        fields.iter().try_for_each(|field| check_field(field, fields))?;
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        Ok(Asked {
            method: method.to_owned(),
            over_tls,
            host: host.to_owned(),
            port,
            target,
            fields: fields.to_vec(),
        })
    }

    /// The name that a client says in its handshake: no address.
    pub fn server_name(&self) -> Option<&str> {
        let name = self.host.split(':').next().unwrap_or_default();
        let is_address = self.host.starts_with('[') || name.parse::<Ipv4Addr>().is_ok();
        (!is_address && !name.is_empty()).then_some(name)
    }

    /// The request's head; a Host among the fields takes the place of the URL's.
    pub fn text(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let is_host = |field: &String| field.to_ascii_lowercase().starts_with("host:");
        if !self.fields.iter().any(is_host) {
            text += &format!("Host: {}\r\n", self.host);
        }
        for field in &self.fields {
            text += &format!("{field}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }
}

fn has_control(text: &str) -> bool {
    text.contains(|one: char| one.is_control() && one != '\t')
}

/// A field is kept as it is, or refused: the server would leave out what is none.
fn check_field(field: &str, all: &[String]) -> Result<(), String> {
    let name = field.split_once(':').map(|(name, _)| name);
    let is_name = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let Some(name) = name.filter(is_name) else {
        return Err(format!("\"{field}\" is no header field: try -H 'Name: value'"));
    };
    let named = |other: &&String| {
        other.split_once(':').is_some_and(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    match ["host", "content-length", "transfer-encoding"].contains(&&*name.to_ascii_lowercase()) {
        true if all.iter().filter(named).count() > 1 => {
            Err(format!("a request has one field \"{name}\""))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(request: &str) -> Result<(String, String, Option<u16>, String), String> {
        let asked = Asked::read(request, &[])?;
        Ok((asked.method, asked.host, asked.port, asked.target))
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let expected = |method: &str, host: &str, port, target: &str| {
            Ok((method.to_owned(), host.to_owned(), port, target.to_owned()))
        };
        for (text, answer) in [
            ("GET http://a.example/b?c", expected("GET", "a.example", None, "/b?c")),
            ("HEAD http://a:8080", expected("HEAD", "a:8080", Some(8080), "/")),
            ("http://[::1]?x", expected("GET", "[::1]", None, "/?x")),
            ("https://a.example:8443/", expected("GET", "a.example:8443", Some(8443), "/")),
            ("/only/a/path", expected("GET", "localhost", None, "/only/a/path")),
        ] {
            assert_eq!(read(text), answer, "{text}");
        }
        for text in
            ["GET", "GET path", "GET http:///a", "GET https:///a", "GET http://a:b/", "GET /a b"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_handshake_has_a_name_and_no_address() {
        for (text, over_tls, name) in [
            ("https://a.example:8443/", Some(true), Some("a.example")),
            ("http://a.example/", Some(false), Some("a.example")),
            ("https://127.0.0.1:8443/", Some(true), None),
            ("https://[::1]/", Some(true), None),
            ("/", None, Some("localhost")),
        ] {
            let asked = Asked::read(text, &[]).unwrap();
            assert_eq!((asked.over_tls, asked.server_name()), (over_tls, name), "{text}");
        }
    }

    #[test]
    fn each_field_is_kept_or_refused() {
        let read = |fields: &[&str]| {
            Asked::read("/", &fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>())
        };
        for field in ["A: b", "A:b", "a_b: c", "A:", "Cookie: a=b; c=d"] {
            assert!(
                read(&[field])
                    .unwrap()
                    .text()
                    .windows(field.len())
                    .any(|part| part == field.as_bytes())
            );
        }
        for field in ["A", "", ": b", "A B: c", "A: b\r\nC: d", "A\u{e4}: b", "A: \u{1b}"] {
            assert!(read(&[field]).is_err(), "{field:?}");
        }
        assert!(read(&["Host: a", "host: b"]).is_err());
        assert!(read(&["Cookie: a", "Cookie: b"]).is_ok());
    }

    #[test]
    fn a_host_field_goes_before_the_address() {
        let fields = ["host: b.example".to_owned(), "X-A: 1".to_owned()];
        let asked = Asked::read("http://127.0.0.1:81/", &fields).unwrap();
        assert_eq!(asked.text(), b"GET / HTTP/1.1\r\nhost: b.example\r\nX-A: 1\r\n\r\n");
    }
}
