//! The page for people.

use std::fmt::{self, Write};

use daemun_http::escape;
use daemun_shm::{ProcessView, Rare};

use super::snapshot::{
    Snapshot, Worker, async_writing, cpu_seconds, date, duration, is_stopping, number,
};

/// What stands before the first number.
const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
    <title>Server Status</title>\n\
    <style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;margin:1em 0}\
    th,td{border:1px solid #ccc;padding:.2em .6em;text-align:left}\
    td.n{text-align:right}pre{white-space:pre-wrap;word-break:break-all}</style>\n\
    </head><body>\n";

const KEY: &str = "<p>\"<b>_</b>\" waiting for a connection, \"<b>S</b>\" starting up, \
    \"<b>R</b>\" reading a request, \"<b>W</b>\" sending a reply, \"<b>K</b>\" keep-alive, \
    \"<b>L</b>\" logging, \"<b>C</b>\" closing the connection, \"<b>G</b>\" finishing, \
    \"<b>I</b>\" idle cleanup</p>\n";

pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut out = HEAD.to_owned();
    // A string takes whatever is written to it.
    let _ = about(snapshot, &mut out)
        .and_then(|()| writeln!(out, "<pre>{}</pre>\n{KEY}", snapshot.letters()))
        .and_then(|()| processes(snapshot, &mut out))
        .and_then(|()| requests(snapshot, &mut out));
    out + "</body></html>\n"
}

fn about(snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    let totals = &snapshot.totals;
    writeln!(out, "<h1>Server Status for {}</h1>\n<dl>", escaped(&snapshot.host))?;
    writeln!(out, "<dt>Server Version: {}</dt>", escaped(&snapshot.version))?;
    writeln!(out, "<dt>Server MPM: {}</dt>", snapshot.mpm.name())?;
    writeln!(out, "<dt>Generation: {}</dt>", snapshot.generation)?;
    writeln!(out, "<dt>Current Time: {}</dt>", date(snapshot.now))?;
    writeln!(out, "<dt>Start Time: {}</dt>", date(snapshot.started))?;
    writeln!(out, "<dt>Server uptime: {}</dt>", duration(snapshot.uptime()))?;
    if let Some([one, five, fifteen]) = snapshot.load {
        writeln!(out, "<dt>Server load: {one:.2} {five:.2} {fifteen:.2}</dt>")?;
    }
    let (user, system) = (cpu_seconds(snapshot.cpu.user), cpu_seconds(snapshot.cpu.system));
    writeln!(out, "<dt>CPU Usage: user {user} s, system {system} s</dt>")?;
    writeln!(
        out,
        "<dt>Total: {} connections, {} requests, {} kB, {} ms</dt>",
        totals.accepted,
        totals.requests,
        totals.sent >> 10,
        totals.busy
    )?;
    let rate = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    writeln!(
        out,
        "<dt>{} requests/sec - {} B/second - {} B/request - {} ms/request</dt>",
        rate(snapshot.per_second(totals.requests)),
        rate(snapshot.per_second(totals.sent)),
        rate(snapshot.per_request(totals.sent)),
        rate(snapshot.per_request(totals.busy)),
    )?;
    let floods = Rare::HTTP2.iter().map(|(_, what)| totals.rare.of(*what)).sum();
    for (count, what) in [
        (
            totals.rare.of(Rare::StaleRetries),
            "requests sent again on a fresh connection to an upstream",
        ),
        (totals.rare.of(Rare::FailedHandshakes), "TLS handshakes that failed"),
        (floods, "floods of HTTP/2 ended"),
    ] {
        if count > 0 {
            writeln!(out, "<dt>{count} {what}</dt>")?;
        }
    }
    for cache in &snapshot.caches {
        let answers = cache.answers.iter().filter(|(_, number)| *number > 0);
        let answers: String = answers.map(|(name, number)| format!(" {name} {number}")).collect();
        writeln!(
            out,
            "<dt>Cache {}: {} entries, {} kB;{answers}; {} stored, {} removed</dt>",
            escaped(&cache.name),
            cache.entries,
            cache.size >> 10,
            cache.stored,
            cache.removed
        )?;
    }
    writeln!(
        out,
        "<dt>{} busy workers, {} finishing, {} idle</dt>\n</dl>",
        snapshot.busy(),
        snapshot.finishing(),
        snapshot.idle()
    )
}

fn processes(snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    out.write_str(
        "<table>\n<tr><th rowspan=\"2\">Slot</th><th rowspan=\"2\">PID</th>\
         <th rowspan=\"2\">Generation</th><th rowspan=\"2\">MPM</th><th rowspan=\"2\">Stopping</th>\
         <th rowspan=\"2\">Connections</th><th colspan=\"2\">Workers</th>\
         <th colspan=\"4\">Async connections</th></tr>\n\
         <tr><th>busy</th><th>idle</th><th>reading</th><th>writing</th><th>keep-alive</th>\
         <th>closing</th></tr>\n",
    )?;
    snapshot.processes.iter().try_for_each(|one| process(one, out))?;
    writeln!(out, "</table>")
}

fn process(process: &ProcessView, out: &mut String) -> fmt::Result {
    let stopping = if is_stopping(process) { "yes" } else { "no" };
    let counts = [
        process.active,
        process.busy() as i64,
        process.idle() as i64,
        process.reading,
        async_writing(process),
        process.waiting,
        process.closing,
    ];
    write!(
        out,
        "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>\
         <td>{stopping}</td>",
        process.index,
        process.pid,
        process.generation,
        process.mpm.name()
    )?;
    for count in counts {
        write!(out, "<td class=\"n\">{count}</td>")?;
    }
    writeln!(out, "</tr>")
}

fn requests(snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<table>\n<tr><th>Slot</th><th>PID</th><th>Requests</th><th>M</th><th>Seconds</th>\
         <th>Client</th><th>VHost</th><th>Request</th></tr>"
    )?;
    snapshot.workers.iter().try_for_each(|one| worker(one, out))?;
    writeln!(
        out,
        "</table>\n<p>Seconds: since the most recent request began, which is the one shown.</p>"
    )
}

/// Nothing is told of a worker that has served nothing.
fn worker(worker: &Worker, out: &mut String) -> fmt::Result {
    let Some(request) = &worker.request else {
        return Ok(());
    };
    let view = &worker.view;
    writeln!(
        out,
        "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>\
         <td class=\"n\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        view.index,
        view.pid,
        view.requests,
        view.stage.letter(),
        request.age,
        escaped(&request.client),
        escaped(&request.host),
        escaped(&request.line)
    )
}

fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape::html(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server_status::snapshot::tests::sample;

    #[test]
    fn what_a_client_sent_is_no_markup() {
        let page = page(&sample());
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("<td>GET /&lt;script&gt;&quot;\\ HTTP/1.1</td>"), "{page}");
        assert!(page.contains("<td>a&quot;&lt;b&gt;</td>"), "{page}");
    }

    #[test]
    fn processes_and_letters_are_shown() {
        let page = page(&sample());
        assert!(page.contains("<pre>GW</pre>"), "{page}");
        assert!(page.contains("<dt>Server MPM: native</dt>"), "{page}");
        let rows = page.matches("<td>native</td>").count();
        assert_eq!(rows, 2, "{page}");
    }
}
