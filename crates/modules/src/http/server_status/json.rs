//! The page as JSON.

use std::fmt::{self, Display, Write};

use daemun_http::escape;
use daemun_http::upstream::cache::place::Told as Cache;
use daemun_resolver::Counts;
use daemun_shm::{ProcessView, Rare, Stage};

use super::snapshot::{Snapshot, Told, Worker, async_writing, is_stopping, number};

pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // A string takes whatever is written to it.
    let _ = write_page(snapshot, &mut out);
    out
}

fn write_page(snapshot: &Snapshot, out: &mut String) -> fmt::Result {
    let totals = &snapshot.totals;
    writeln!(out, "{{\"host\":{},", quoted(&snapshot.host))?;
    writeln!(out, "\"version\":{},", quoted(&snapshot.version))?;
    writeln!(out, "\"mpm\":{},", quoted(snapshot.mpm.name()))?;
    writeln!(out, "\"generation\":{},", snapshot.generation)?;
    writeln!(out, "\"started\":{},\"now\":{},", snapshot.started, snapshot.now)?;
    writeln!(out, "\"uptime\":{},", snapshot.uptime())?;
    let loads = snapshot.load.into_iter().flatten().map(number).collect::<Vec<_>>();
    writeln!(out, "\"load\":[{}],", loads.join(","))?;
    let (user, system) = (snapshot.cpu.user.as_secs_f64(), snapshot.cpu.system.as_secs_f64());
    writeln!(out, "\"cpu\":{{\"user\":{},\"system\":{}}},", number(user), number(system))?;
    writeln!(
        out,
        "\"totals\":{{\"connections\":{},\"requests\":{},\"bytes\":{},\"milliseconds\":{}}},",
        totals.accepted, totals.requests, totals.sent, totals.busy
    )?;
    writeln!(
        out,
        "\"rates\":{{\"requests_per_second\":{},\"bytes_per_second\":{},\"bytes_per_request\":{},\
         \"milliseconds_per_request\":{}}},",
        or_null(snapshot.per_second(totals.requests)),
        or_null(snapshot.per_second(totals.sent)),
        or_null(snapshot.per_request(totals.sent)),
        or_null(snapshot.per_request(totals.busy)),
    )?;
    writeln!(
        out,
        "\"connections\":{{\"active\":{},\"reading\":{},\"writing\":{},\"waiting\":{}}},",
        totals.active, totals.reading, totals.writing, totals.waiting
    )?;
    let rare = |what| totals.rare.of(what);
    writeln!(out, "\"upstreams\":{{\"stale_retries\":{}}},", rare(Rare::StaleRetries))?;
    writeln!(out, "\"tls\":{{\"failed_handshakes\":{}}},", rare(Rare::FailedHandshakes))?;
    write!(out, "\"http2_floods\":{{")?;
    list(out, &Rare::HTTP2, |out, (name, what)| write!(out, "{}:{}", quoted(name), rare(*what)))?;
    writeln!(out, "}},")?;
    write!(out, "\"resolvers\":{{")?;
    list(out, &snapshot.resolvers, resolver)?;
    writeln!(out, "}},")?;
    write!(out, "\"caches\":{{")?;
    list(out, &snapshot.caches, cache)?;
    writeln!(out, "}},")?;
    writeln!(
        out,
        "\"workers\":{{\"busy\":{},\"idle\":{},\"finishing\":{}}},",
        snapshot.busy(),
        snapshot.idle(),
        snapshot.finishing()
    )?;
    writeln!(out, "\"scoreboard\":{},", quoted(&snapshot.letters()))?;
    write!(out, "\"processes\":[")?;
    list(out, &snapshot.processes, process)?;
    write!(out, "],\n\"slots\":[")?;
    list(out, &snapshot.workers, worker)?;
    writeln!(out, "]}}")
}

fn list<T>(
    out: &mut String,
    items: &[T],
    write: impl Fn(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    for (place, item) in items.iter().enumerate() {
        out.write_str(if place == 0 { "\n" } else { ",\n" })?;
        write(out, item)?;
    }
    Ok(())
}

/// As in nginx's API.
fn resolver(out: &mut String, (name, counts): &(String, Counts)) -> fmt::Result {
    write!(out, "{}:{{\"requests\":{{", quoted(name))?;
    numbers(out, counts.requests())?;
    write!(out, "}},\"responses\":{{")?;
    numbers(out, counts.responses())?;
    write!(out, "}}}}")
}

fn cache(out: &mut String, cache: &Cache) -> fmt::Result {
    let most = cache.max_size.map_or_else(|| "null".to_owned(), |most| most.to_string());
    write!(
        out,
        "{}:{{\"size\":{},\"max_size\":{most},\"entries\":{},\"cold\":{},\"answers\":{{",
        quoted(&cache.name),
        cache.size,
        cache.entries,
        cache.is_cold
    )?;
    numbers(out, cache.answers.iter().map(|(name, number)| (*name, *number)))?;
    write!(
        out,
        "}},\"served_bytes\":{},\"stored\":{},\"stored_bytes\":{},\"removed\":{}}}",
        cache.served, cache.stored, cache.written, cache.removed
    )
}

fn numbers(out: &mut String, numbers: impl Iterator<Item = (&'static str, u64)>) -> fmt::Result {
    for (place, (name, number)) in numbers.enumerate() {
        let separator = if place == 0 { "" } else { "," };
        write!(out, "{separator}\"{name}\":{number}")?;
    }
    Ok(())
}

fn process(out: &mut String, process: &ProcessView) -> fmt::Result {
    write!(
        out,
        "{{\"slot\":{},\"pid\":{},\"generation\":{},\"mpm\":{},\"stopping\":{},\"threads\":{},",
        process.index,
        process.pid,
        process.generation,
        quoted(process.mpm.name()),
        is_stopping(process),
        process.threads
    )?;
    let (busy, idle) = (process.busy(), process.idle());
    write!(out, "\"busy\":{busy},\"idle\":{idle},\"connections\":{{\"total\":{},", process.active)?;
    write!(
        out,
        "\"reading\":{},\"writing\":{},\"keep_alive\":{},\"closing\":{}}}}}",
        process.reading,
        async_writing(process),
        process.waiting,
        process.closing
    )
}

fn worker(out: &mut String, worker: &Worker) -> fmt::Result {
    let view = &worker.view;
    write!(
        out,
        "{{\"slot\":{},\"pid\":{},\"generation\":{},\"stage\":{},\"requests\":{},\"request\":",
        view.index,
        view.pid,
        view.generation,
        quoted(stage_name(view.stage)),
        view.requests
    )?;
    match &worker.request {
        Some(Told { client, host, line, age }) => {
            let (client, host, line) = (quoted(client), quoted(host), quoted(line));
            write!(
                out,
                "{{\"client\":{client},\"host\":{host},\"line\":{line},\"seconds\":{age}}}}}"
            )
        }
        None => write!(out, "null}}"),
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Waiting => "waiting",
        Stage::Reading => "reading",
        Stage::Writing => "writing",
        Stage::KeepAlive => "keep-alive",
        Stage::Logging => "logging",
        Stage::Closing => "closing",
        Stage::Finishing => "finishing",
        Stage::IdleCleanup => "idle cleanup",
    }
}

fn or_null(value: Option<f64>) -> String {
    value.map_or_else(|| "null".to_owned(), number)
}

/// Text as a JSON string.
fn quoted(text: &str) -> impl Display {
    let mut out = vec![b'"'];
    escape::json(text.as_bytes(), &mut out);
    out.push(b'"');
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server_status::snapshot::tests::sample;

    #[test]
    fn what_a_client_sent_stays_inside_its_string() {
        let page = page(&sample());
        let told = r#""host":"a\"<b>","line":"GET /<script>\"\\ HTTP/1.1","seconds":2}"#;
        assert!(page.contains(told), "{page}");
        assert!(page.contains("\"scoreboard\":\"GW\""), "{page}");
        assert!(page.contains("\"rates\":{\"requests_per_second\":0.0625,"), "{page}");
    }
}
