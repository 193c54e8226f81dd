//! `daemun -t --lint`: configurations that are valid and mean something else than they seem.
//!
//! A rule is a file in `rules/` and a line in [`rules::ALL`]. It looks at what stands in the files, by way of an
//! [`Outline`], and where that is not enough at the configuration that was built. What it finds comes with a request
//! that shows the effect. A comment on the line of a finding, or on the line before, silences it:
//!
//! ```nginx
//! # daemun-lint: allow status-exposed only the monitoring network reaches this port
//! stub_status;
//! ```

mod allowances;
mod certificates;
mod guards;
mod header;
mod outline;
mod passes;
mod patterns;
mod report;
mod rules;
mod sample;

use std::path::Path;

use daemun_conf::{Files, Span};
use daemun_core::listen::Address;
use daemun_core::settings::ProcessSettings;
use daemun_http::config::HttpConfig;
use daemun_process::Cycle;
use daemun_sys::limits::{self, Resource};

pub use outline::{Outline, Scope};
pub use report::Format;

use crate::program::{Broken, Configuration};

/// Something to warn of.
struct Rule {
    /// In lower case with dashes, for `allow`.
    code: &'static str,
    /// What goes wrong, for whoever meets the rule for the first time.
    explanation: &'static str,
    find: fn(&Site<'_>) -> Vec<Finding>,
}

/// What rules look at.
struct Site<'s> {
    outline: &'s Outline<'s>,
    files: &'s Files,
    http: &'s HttpConfig,
    settings: &'s ProcessSettings,
    /// How many descriptors a process may have before `worker_rlimit_nofile`.
    descriptors: u64,
}

impl Site<'_> {
    /// Where relative names of certificates lead: the folder of the configuration.
    fn folder(&self) -> &Path {
        let root = self.files.iter().find(|file| !file.is_command_line());
        root.and_then(|file| file.name().parent()).unwrap_or(Path::new("/"))
    }
}

/// A place in the user's files that a rule warns of.
struct Finding {
    message: String,
    span: Span,
    example: Example,
}

/// A request, and what it brings to light.
struct Example {
    scheme: &'static str,
    /// With a port, unless that is the scheme's.
    host: String,
    uri: String,
    /// `Name: value`.
    fields: Vec<String>,
    effect: String,
}

impl Example {
    fn with(mut self, field: impl Into<String>) -> Example {
        self.fields.push(field.into());
        self
    }

    /// The same for another host.
    fn at(mut self, host: &str, address: &Address) -> Example {
        self.host = match address.port() {
            Some(80) | None => host.to_owned(),
            Some(port) => format!("{host}:{port}"),
        };
        self
    }

    fn shows(mut self, effect: impl Into<String>) -> Example {
        self.effect = effect.into();
        self
    }
}

/// What the rules have to say of a configuration, in the order of its text.
pub struct Verdict<'c> {
    files: &'c Files,
    findings: Vec<(&'static Rule, Finding)>,
}

/// Asks every rule.
pub fn lint(cycle: &Cycle<Configuration>) -> Verdict<'_> {
    let configuration = &cycle.configuration;
    let outline = Outline::of(&configuration.directives);
    let site = Site {
        outline: &outline,
        files: &configuration.files,
        http: &configuration.http,
        settings: &cycle.settings,
        descriptors: limits::limit(Resource::Descriptors).map_or(u64::MAX, |(soft, _)| soft),
    };
    let files = &configuration.files;
    let of_rule = |rule: &'static Rule| (rule.find)(&site).into_iter().map(move |one| (rule, one));
    let mut findings: Vec<_> = rules::ALL.iter().copied().flat_map(of_rule).collect();
    allowances::apply(files, &mut findings);
    findings.sort_by_cached_key(|(_, finding)| files.reading_order(finding.span));
    Verdict { files, findings }
}

/// What `--lint` prints of a configuration that cannot be used: for programs its errors are findings.
pub fn errors(broken: &Broken, format: Format, configuration: &str) -> String {
    report::errors(&broken.diagnostics, &broken.files, format, configuration)
}

impl Verdict<'_> {
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// What `--lint` prints.
    pub fn report(&self, format: Format, program: &str) -> String {
        report::write(self, format, program)
    }
}

#[cfg(test)]
mod testing {
    use std::path::PathBuf;

    use daemun_conf::Files;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::lint;
    use crate::cli::{Options, Places};
    use crate::identity::DAEMUN;
    use crate::program::Server;

    /// The codes that a configuration sets off. One without an `http` block is the content of one.
    pub(super) fn codes(text: &str) -> Vec<&'static str> {
        let text = match text.contains("http {") {
            true => text.to_owned(),
            false => format!("events {{ }} http {{ access_log off; {text} }}"),
        };
        let path = PathBuf::from("/nowhere/daemun.conf");
        let server = Server {
            identity: &DAEMUN,
            options: Options { test: true, quiet: true, ..Options::default() },
            places: Places {
                prefix: "/nowhere".into(),
                configuration: Some(path.clone()),
                configuration_folder: "/nowhere".into(),
                error_log: None,
            },
        };
        let mut files = Files::default();
        files.pretend(path, text.into_bytes());
        let cycle = server.load_with(files).unwrap();
        lint(&cycle).findings.iter().map(|(rule, _)| rule.code).collect()
    }

    /// A server's certificate and its key, in PEM.
    pub(super) struct Identity {
        pub certificate: String,
        pub key: String,
    }

    impl Identity {
        /// One that signs itself.
        pub(super) fn new(change: impl FnOnce(&mut CertificateParams)) -> Identity {
            Identity::of(&KeyPair::generate().unwrap(), change)
        }

        pub(super) fn rsa() -> Identity {
            Identity::of(&KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(), |_| {})
        }

        fn of(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Identity {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            change(&mut params);
            let certificate = params.self_signed(key).unwrap().pem();
            Identity { certificate, key: key.serialize_pem() }
        }

        /// As a word that stands in place of a file's name.
        pub(super) fn certificate(&self) -> String {
            format!("\"data:{}\"", self.certificate)
        }

        pub(super) fn quoted_key(&self) -> String {
            format!("\"data:{}\"", self.key)
        }

        /// A server that shows it.
        pub(super) fn server(&self, more: &str) -> String {
            let (certificate, key) = (self.certificate(), self.quoted_key());
            format!(
                "server {{ listen 443 ssl; root /srv; ssl_certificate {certificate};
                     ssl_certificate_key {key}; {more} }}"
            )
        }
    }

    /// Whoever issues certificates.
    pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        pub(super) fn new() -> Authority {
            let key = KeyPair::generate().unwrap();
            Authority(CertifiedIssuer::self_signed(Authority::params("root"), key).unwrap())
        }

        pub(super) fn below(&self) -> Authority {
            let key = KeyPair::generate().unwrap();
            let params = Authority::params("below");
            Authority(CertifiedIssuer::signed_by(params, key, &self.0).unwrap())
        }

        fn params(name: &str) -> CertificateParams {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        }

        pub(super) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            change(&mut params);
            let certificate = params.signed_by(&key, &self.0).unwrap().pem();
            Identity { certificate, key: key.serialize_pem() }
        }

        pub(super) fn pem(&self) -> String {
            self.0.pem()
        }
    }

    /// Checks that a rule warns of the one configuration and not of the other.
    pub(super) fn check(code: &str, bad: &str, good: &str) {
        assert_eq!(codes(bad), [code], "{bad}");
        assert_eq!(codes(good), <[&str; 0]>::default(), "{good}");
    }
}
