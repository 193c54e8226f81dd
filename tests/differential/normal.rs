//! What may differ between two runs of the same server is taken out of an answer.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use daemun_tests::Server;

/// The answer as text: fields that tell the time, the version and the port have a fixed value.
pub fn form(answer: &[u8], server: &Server) -> String {
    let text = answer.escape_ascii().to_string();
    let text = text.replace("\\r\\n", "\n").replace("\\n", "\n");
    let text = text.replace(&server.port().to_string(), "PORT");
    let text = text.replace(server.folder().path("").to_str().unwrap(), "FOLDER/");
    let text = boundaries(&text);
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some(("Date", _)) => "Date: NOW".to_owned(),
        // Relative to now.
        Some(("Expires", date))
            if !date.ends_with("1970 00:00:01 GMT") && !date.contains("2037") =>
        {
            "Expires: THEN".to_owned()
        }
        Some(("Server", product)) => format!("Server: {}", without_version(product)),
        _ => without_version(line),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `nginx/1.22.1` becomes `nginx/VERSION`.
fn without_version(line: &str) -> String {
    let Some((before, after)) = line.split_once("nginx/1.") else {
        return line.to_owned();
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    format!("{before}nginx/VERSION{rest}")
}

/// The boundary of a multipart answer is a number that counts.
fn boundaries(text: &str) -> String {
    let Some((_, rest)) = text.split_once("boundary=") else {
        return text.to_owned();
    };
    let boundary = rest.lines().next().unwrap_or_default();
    text.replace(boundary, "BOUNDARY")
}

/// Gives every file below a folder, and the folder, one time of change.
pub fn set_times(folder: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_times(&path);
        } else {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        }
    }
    File::open(folder).unwrap().set_modified(time).unwrap();
}
