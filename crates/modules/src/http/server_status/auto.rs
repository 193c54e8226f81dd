//! The keys of Apache 2.4's `?auto`, in its order.

use super::snapshot::{Snapshot, async_writing, cpu_seconds, date, duration, number};

pub(super) fn page(snapshot: &Snapshot) -> String {
    let mut page = Page(format!("{}\n", snapshot.host));
    page.about(snapshot);
    page.usage(snapshot);
    page.workers(snapshot);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        let _ = writeln!(self.0, "{key}: {value}");
    }

    fn optional(&mut self, key: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.line(key, number(value));
        }
    }

    fn about(&mut self, snapshot: &Snapshot) {
        self.line("ServerVersion", &snapshot.version);
        self.line("ServerMPM", snapshot.mpm.name());
        self.line("Server Built", concat!("daemun ", env!("CARGO_PKG_VERSION")));
        self.line("CurrentTime", date(snapshot.now));
        self.line("RestartTime", date(snapshot.started));
        self.line("ParentServerConfigGeneration", snapshot.generation);
        self.line("ParentServerMPMGeneration", snapshot.generation.saturating_sub(1));
        self.line("ServerUptimeSeconds", snapshot.uptime());
        self.line("ServerUptime", duration(snapshot.uptime()));
        for (key, load) in
            ["Load1", "Load5", "Load15"].iter().zip(snapshot.load.into_iter().flatten())
        {
            self.line(key, format_args!("{load:.2}"));
        }
    }

    fn usage(&mut self, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        self.line("Total Accesses", totals.requests);
        self.line("Total kBytes", totals.sent >> 10);
        self.line("Total Duration", totals.busy);
        self.line("CPUUser", cpu_seconds(snapshot.cpu.user));
        self.line("CPUSystem", cpu_seconds(snapshot.cpu.system));
        self.line("CPUChildrenUser", 0);
        self.line("CPUChildrenSystem", 0);
        self.optional("CPULoad", snapshot.cpu_load());
        self.line("Uptime", snapshot.uptime());
        self.optional("ReqPerSec", snapshot.per_second(totals.requests));
        self.optional("BytesPerSec", snapshot.per_second(totals.sent));
        self.optional("BytesPerReq", snapshot.per_request(totals.sent));
        self.optional("DurationPerReq", snapshot.per_request(totals.busy));
    }

    fn workers(&mut self, snapshot: &Snapshot) {
        self.line("BusyWorkers", snapshot.busy());
        self.line("GracefulWorkers", snapshot.finishing());
        self.line("IdleWorkers", snapshot.idle());
        if snapshot.is_async() {
            self.line("Processes", snapshot.processes.len());
            self.line("Stopping", snapshot.stopping());
            self.line("ConnsTotal", snapshot.sum(|process| process.active));
            self.line("ConnsAsyncWaitIO", snapshot.sum(|process| process.reading));
            self.line("ConnsAsyncWriting", snapshot.sum(async_writing));
            self.line("ConnsAsyncKeepAlive", snapshot.sum(|process| process.waiting));
            self.line("ConnsAsyncClosing", snapshot.sum(|process| process.closing));
        }
        self.line("Scoreboard", snapshot.letters());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server_status::snapshot::tests::sample;

    #[test]
    fn programs_that_read_apache_read_this() {
        let expected = "localhost\n\
            ServerVersion: nginx/1.31.5\n\
            ServerMPM: native\n\
            Server Built: daemun 0.1.0\n\
            CurrentTime: Sunday, 22-Nov-2026 19:01:04 UTC\n\
            RestartTime: Sunday, 22-Nov-2026 19:00:00 UTC\n\
            ParentServerConfigGeneration: 2\n\
            ParentServerMPMGeneration: 1\n\
            ServerUptimeSeconds: 64\n\
            ServerUptime: 1 minute 4 seconds\n\
            Load1: 0.50\n\
            Load5: 0.25\n\
            Load15: 1.00\n\
            Total Accesses: 4\n\
            Total kBytes: 4\n\
            Total Duration: 10\n\
            CPUUser: 0.64\n\
            CPUSystem: 0\n\
            CPUChildrenUser: 0\n\
            CPUChildrenSystem: 0\n\
            CPULoad: 1\n\
            Uptime: 64\n\
            ReqPerSec: 0.0625\n\
            BytesPerSec: 64\n\
            BytesPerReq: 1024\n\
            DurationPerReq: 2.5\n\
            BusyWorkers: 1\n\
            GracefulWorkers: 1\n\
            IdleWorkers: 0\n\
            Processes: 2\n\
            Stopping: 1\n\
            ConnsTotal: 4\n\
            ConnsAsyncWaitIO: 0\n\
            ConnsAsyncWriting: 1\n\
            ConnsAsyncKeepAlive: 3\n\
            ConnsAsyncClosing: 0\n\
            Scoreboard: GW\n";
        assert_eq!(page(&sample()), expected);
    }
}
