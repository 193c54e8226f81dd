//! A listing as HTML, XML and JSON, byte for byte as nginx spells it.

use std::fs::Metadata;
use std::io::Write;

use daemun_http::escape;
use daemun_http::response::LastModified;
use daemun_sys::clock::{self, LocalTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File,
    Other,
}

/// A file of the folder.
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    /// Seconds since 1970.
    pub modified: i64,
    pub size: u64,
}

/// How a page for people looks.
pub(super) struct Html<'a> {
    pub uri: &'a [u8],
    /// Names are counted in characters.
    pub is_utf8: bool,
    pub exact_size: bool,
    pub local_time: bool,
}

/// The column of names is this wide; longer names are cut.
const NAME_WIDTH: usize = 50;

impl Kind {
    pub fn of(metadata: &Metadata) -> Kind {
        match metadata {
            _ if metadata.is_dir() => Kind::Folder,
            _ if metadata.is_file() => Kind::File,
            _ => Kind::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Folder => "directory",
            Kind::File => "file",
            Kind::Other => "other",
        }
    }
}

impl Html<'_> {
    pub fn page(&self, entries: &[Entry]) -> Vec<u8> {
        let offset = match self.local_time {
            true => i64::from(clock::local(clock::now()).offset),
            false => 0,
        };
        let mut out = b"<html>\r\n<head><title>Index of ".to_vec();
        escape::html(self.uri, &mut out);
        out.extend_from_slice(b"</title></head>\r\n<body>\r\n<h1>Index of ");
        escape::html(self.uri, &mut out);
        out.extend_from_slice(b"</h1><hr><pre><a href=\"../\">../</a>\r\n");
        for entry in entries {
            self.link(entry, &mut out);
            date(clock::utc(entry.modified + offset), &mut out);
            self.size(entry, &mut out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"</pre><hr></body>\r\n</html>\r\n");
        out
    }

    fn link(&self, entry: &Entry, out: &mut Vec<u8>) {
        let is_folder = entry.kind == Kind::Folder;
        out.extend_from_slice(b"<a href=\"");
        escape::component(&entry.name, out);
        out.extend_from_slice(if is_folder { b"/\">" } else { b"\">" });
        let width = self.width(&entry.name);
        if width > NAME_WIDTH {
            escape::html(self.beginning(&entry.name, NAME_WIDTH - 3), out);
            out.extend_from_slice(b"..&gt;</a> ");
            return;
        }
        escape::html(&entry.name, out);
        let has_slash = is_folder && width < NAME_WIDTH;
        out.extend_from_slice(if has_slash { b"/</a>" } else { b"</a>" });
        let blank = NAME_WIDTH - width - usize::from(has_slash) + 1;
        out.resize(out.len() + blank, b' ');
    }

    fn width(&self, name: &[u8]) -> usize {
        self.characters(name).map_or(name.len(), |text| text.chars().count())
    }

    /// The first `width` characters.
    fn beginning<'n>(&self, name: &'n [u8], width: usize) -> &'n [u8] {
        let end = match self.characters(name) {
            Some(text) => text.char_indices().nth(width).map_or(name.len(), |(end, _)| end),
            None => width,
        };
        &name[..end]
    }

    fn characters<'n>(&self, name: &'n [u8]) -> Option<&'n str> {
        std::str::from_utf8(name).ok().filter(|_| self.is_utf8)
    }

    fn size(&self, entry: &Entry, out: &mut Vec<u8>) {
        let size = entry.size;
        // Writing to memory can't fail.
        let _ = match (entry.kind, self.exact_size) {
            (Kind::Folder, true) => write!(out, "{:>19}", "-"),
            (Kind::Folder, false) => write!(out, "{:>7}", "-"),
            (_, true) => write!(out, "{size:19}"),
            (_, false) => match rounded(size) {
                (number, Some(unit)) => write!(out, "{number:6}{unit}"),
                (number, None) => write!(out, " {number:6}"),
            },
        };
    }
}

/// `28-Sep-1970 06:00 `
fn date(time: LocalTime, out: &mut Vec<u8>) {
    let month = time.month_name();
    let LocalTime { year, day, hour, minute, .. } = time;
    // Writing to memory can't fail.
    let _ = write!(out, "{day:02}-{month}-{year} {hour:02}:{minute:02} ");
}

/// A size in the unit that suits it.
fn rounded(size: u64) -> (u64, Option<char>) {
    const KILO: u64 = 1 << 10;
    const MEGA: u64 = 1 << 20;
    const GIGA: u64 = 1 << 30;
    let (unit, letter) = match size {
        GIGA.. => (GIGA, 'G'),
        MEGA.. => (MEGA, 'M'),
        10_000.. => (KILO, 'K'),
        _ => return (size, None),
    };
    (size / unit + u64::from(size % unit >= unit / 2), Some(letter))
}

/// A JSON array, handed to a function where there is a callback.
pub(super) fn json(entries: &[Entry], callback: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(callback) = callback {
        out.extend_from_slice(b"/* callback */\r\n");
        out.extend_from_slice(callback);
        out.push(b'(');
    }
    out.push(b'[');
    for (place, entry) in entries.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        out.extend_from_slice(comma.as_bytes());
        out.extend_from_slice(b"\r\n{ \"name\":\"");
        escape::json(&entry.name, &mut out);
        let modified = LastModified::new(entry.modified).text;
        // Writing to memory can't fail.
        let _ = write!(
            out,
            "\", \"type\":\"{}\", \"mtime\":\"{}\"",
            entry.kind.name(),
            String::from_utf8_lossy(&modified)
        );
        if entry.kind == Kind::File {
            let _ = write!(out, ", \"size\":{}", entry.size);
        }
        out.extend_from_slice(b" }");
    }
    out.extend_from_slice(b"\r\n]");
    if callback.is_some() {
        out.extend_from_slice(b");");
    }
    out
}

pub(super) fn xml(entries: &[Entry]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\"?>\r\n<list>\r\n".to_vec();
    for entry in entries {
        let name = entry.kind.name();
        let LocalTime { year, month, day, hour, minute, second, .. } = clock::utc(entry.modified);
        // Writing to memory can't fail.
        let _ = write!(
            out,
            "<{name} mtime=\"{year:4}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\""
        );
        if entry.kind == Kind::File {
            let _ = write!(out, " size=\"{}\"", entry.size);
        }
        out.push(b'>');
        escape::html(&entry.name, &mut out);
        let _ = write!(out, "</{name}>\r\n");
    }
    out.extend_from_slice(b"</list>\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind, size: u64) -> Entry {
        Entry { name: name.into(), kind, modified: 23_349_600, size }
    }

    fn line(html: &Html<'_>, entry: Entry) -> String {
        let page = String::from_utf8(html.page(&[entry])).unwrap();
        page.lines().nth(4).unwrap().to_owned()
    }

    const HTML: Html<'static> =
        Html { uri: b"/a/", is_utf8: false, exact_size: true, local_time: false };

    #[test]
    fn html_has_columns() {
        let file = line(&HTML, entry("a b", Kind::File, 7));
        assert_eq!(file, format!("<a href=\"a%20b\">a b</a>{:48}28-Sep-1970 06:00 {:>19}", "", 7));
        let folder = line(&HTML, entry("d", Kind::Folder, 4096));
        assert_eq!(folder, format!("<a href=\"d/\">d/</a>{:49}28-Sep-1970 06:00 {:>19}", "", "-"));
    }

    #[test]
    fn long_names_are_cut_in_characters() {
        let name = "ä".repeat(51);
        let html = Html { is_utf8: true, ..HTML };
        let cut = line(&html, entry(&name, Kind::File, 7));
        assert!(cut.contains(&format!(">{}..&gt;</a> 28", "ä".repeat(47))), "{cut}");
        let whole = line(&html, entry(&name[2..], Kind::File, 7));
        assert!(whole.contains(&format!(">{}</a> 28", "ä".repeat(50))), "{whole}");
    }

    #[test]
    fn sizes_are_rounded() {
        let html = Html { exact_size: false, ..HTML };
        for (size, shown) in [
            (9_999, "   9999"),
            (10_000, "    10K"),
            (1 << 20, "     1M"),
            ((3 << 30) / 2, "     2G"),
        ] {
            assert!(line(&html, entry("a", Kind::File, size)).ends_with(shown), "{size}");
        }
    }

    #[test]
    fn json_and_xml_tell_the_kind() {
        let entries = [entry("d", Kind::Folder, 1), entry("\"", Kind::File, 2)];
        assert_eq!(
            String::from_utf8(json(&entries, Some(b"f"))).unwrap(),
            "/* callback */\r\nf([\r\n\
             { \"name\":\"d\", \"type\":\"directory\", \"mtime\":\"Mon, 28 Sep 1970 06:00:00 GMT\" },\r\n\
             { \"name\":\"\\\"\", \"type\":\"file\", \"mtime\":\"Mon, 28 Sep 1970 06:00:00 GMT\", \"size\":2 }\r\n]);"
        );
        assert_eq!(
            String::from_utf8(xml(&entries)).unwrap(),
            "<?xml version=\"1.0\"?>\r\n<list>\r\n\
             <directory mtime=\"1970-09-28T06:00:00Z\">d</directory>\r\n\
             <file mtime=\"1970-09-28T06:00:00Z\" size=\"2\">&quot;</file>\r\n</list>\r\n"
        );
    }
}
