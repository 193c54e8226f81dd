//! What may differ between two runs of the same server is taken out of an answer.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use daemun_tests::Server;

/// The answer as text: fields that tell the time, the version and the port have a fixed value.
pub fn form(answer: &[u8], server: &Server) -> String {
    let text = answer.escape_ascii().to_string();
    let text = text.replace("\\r\\n", "\n").replace("\\n", "\n");
    let text = without_port(&text, &server.port().to_string());
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

/// The port becomes `PORT` where it is a number of its own.
fn without_port(text: &str, port: &str) -> String {
    let numbers = text.split_inclusive(|c: char| !c.is_ascii_digit());
    let replaced = numbers.map(|number| match number.strip_prefix(port) {
        Some(rest) if !rest.starts_with(|c: char| c.is_ascii_digit()) => format!("PORT{rest}"),
        _ => number.to_owned(),
    });
    replaced.collect()
}

#[test]
fn a_port_within_a_longer_number_stays() {
    let text = "max-age=315360000, 153600, localhost:15360/, 15360";
    assert_eq!(without_port(text, "15360"), "max-age=315360000, 153600, localhost:PORT/, PORT");
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
