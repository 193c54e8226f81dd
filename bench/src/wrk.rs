//! Load by wrk: connections that ask for the same again and again.

use std::process::Command;

/// Where the load runs, and what it is.
pub struct Load {
    pub processor: usize,
    pub connections: usize,
    pub seconds: usize,
}

impl Load {
    /// Returns how many requests were answered. Panics where one failed, unless failures are to be `forgiven`.
    pub fn run(&self, port: u16, uri: &str, forgiven: bool) -> f64 {
        let output = Command::new("taskset")
            .args(["-c", &self.processor.to_string(), "wrk", "-t1"])
            .args([format!("-c{}", self.connections), format!("-d{}", self.seconds)])
            .arg(format!("http://127.0.0.1:{port}{uri}"))
            .output()
            .expect("this needs taskset and wrk: sudo apt-get install util-linux wrk");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_clean = !text.contains("Non-2xx") && !text.contains("Socket errors");
        let line = text.lines().find(|line| line.contains("requests in"));
        let count = line.and_then(|line| line.split_whitespace().next());
        match count.and_then(|count| count.parse().ok()).filter(|_| is_clean || forgiven) {
            Some(count) => count,
            None => panic!("wrk met trouble:\n{text}"),
        }
    }
}
