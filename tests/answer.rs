//! A response as it came over the wire.

/// Head and body of one response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The first line; empty for HTTP/0.9.
    pub line: String,
    /// In the order in which they came, names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Splits a head, without its empty line, into its parts.
    pub fn parse_head(head: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let fields = lines.filter_map(|field| field.split_once(": "));
        Answer {
            status: status.unwrap_or_else(|| panic!("no response begins so: {text:?}")),
            headers: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            line,
            body: Vec::new(),
        }
    }

    /// The first field of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All fields of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.headers.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        fields.map(|(_, value)| &**value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub fn is_chunked(&self) -> bool {
        self.header("Transfer-Encoding") == Some("chunked")
    }

    /// The body's length in bytes, where the head tells it.
    pub fn content_length(&self) -> Option<usize> {
        self.header("Content-Length")?.parse().ok()
    }
}
