//! The command line, in nginx's grammar: single letters, together or apart, values attached or in
//! the next word.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use daemun_process::signaller::Request;

use crate::configure;
use crate::identity::Identity;
use crate::lint;

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-v`, and implied by `-h` and `-V`.
    pub version: bool,
    /// `-?`, `-h`, `--help`.
    pub help: bool,
    /// `--help`, `--version`: to the standard output, as programs do that have such options.
    pub is_spelt_out: bool,
    /// `-V`.
    pub configure: bool,
    /// `-t`, and implied by `-T`.
    pub test: bool,
    /// `-T`.
    pub dump: bool,
    /// `-q`.
    pub quiet: bool,
    /// `-s`.
    pub signal: Option<Request>,
    /// `-p`.
    pub prefix: Option<OsString>,
    /// `-e`; `stderr` and the empty word are the standard error.
    pub error_log: Option<OsString>,
    /// `-c`.
    pub configuration: Option<OsString>,
    /// `-g`.
    pub directives: Option<OsString>,
    /// `--lint`, `--lint=json`, `--lint=sarif`.
    pub lint: Option<lint::Format>,
    /// `--explain`.
    pub explain: Option<OsString>,
    /// `-H`: header fields of the request to explain.
    pub fields: Vec<OsString>,
}

impl Options {
    /// Reads the words after the program's name. The error is nginx's sentence.
    pub fn parse(words: &[OsString], identity: &Identity) -> Result<Options, String> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(letters) = word.as_bytes().strip_prefix(b"-") else {
                return Err(format!("invalid option: \"{}\"", word.display()));
            };
            if identity.has_commands
                && let Some(long) = letters.strip_prefix(b"-")
            {
                options.set_long(OsStr::from_bytes(long), &mut words)?;
                continue;
            }
            for (place, letter) in letters.iter().enumerate() {
                if let Some(requirement) = requirement_of(*letter, identity) {
                    let attached = &letters[place + 1..];
                    let value = match attached.is_empty() {
                        false => Some(OsString::from_vec(attached.to_vec())),
                        true => words.next().cloned(),
                    };
                    let missing =
                        || format!("option \"-{}\" requires {requirement}", char::from(*letter));
                    options.set(*letter, value.ok_or_else(missing)?)?;
                    break;
                }
                options.switch(*letter)?;
            }
        }
        options.check()
    }

    /// What looks at a configuration goes with `-t`.
    fn check(self) -> Result<Options, String> {
        let needs_test = [("--lint", self.lint.is_some()), ("--explain", self.explain.is_some())];
        if let Some((name, _)) = needs_test.iter().find(|(_, is_given)| *is_given && !self.test) {
            return Err(format!("option \"{name}\" goes with \"-t\""));
        }
        if !self.fields.is_empty() && self.explain.is_none() {
            return Err("option \"-H\" goes with \"--explain\"".to_owned());
        }
        Ok(self)
    }

    fn set_long<'w>(
        &mut self,
        option: &OsStr,
        words: &mut impl Iterator<Item = &'w OsString>,
    ) -> Result<(), String> {
        match option.as_bytes() {
            b"help" => (self.version, self.help, self.is_spelt_out) = (true, true, true),
            b"version" => (self.version, self.is_spelt_out) = (true, true),
            b"lint" => self.lint = Some(lint::Format::Text),
            b"lint=json" => self.lint = Some(lint::Format::Json),
            b"lint=sarif" => self.lint = Some(lint::Format::Sarif),
            b"explain" => {
                let missing = || "option \"--explain\" requires a request".to_owned();
                self.explain = Some(words.next().cloned().ok_or_else(missing)?);
            }
            _ => return Err(format!("invalid option: \"--{}\"", option.display())),
        }
        Ok(())
    }

    /// Whether there is nothing to do but to print [`about`](Self::about).
    pub fn only_informs(&self) -> bool {
        self.version && !self.test
    }

    /// What `-v`, `-V` and `-h` print on the standard error. `works` is as in
    /// [`configure::arguments`].
    pub fn about(&self, identity: &Identity, works: &[&str]) -> String {
        let mut text = format!("{} version: {}\n", identity.name, identity.version);
        if self.help {
            text.push_str(&help(identity));
        }
        if self.configure {
            text.push_str(daemun_tls::VERSION);
            text.push_str("\nTLS SNI support enabled\n");
            text.push_str(&format!(
                "configure arguments: {}\n",
                configure::arguments(identity, works)
            ));
        }
        text
    }

    fn switch(&mut self, letter: u8) -> Result<(), String> {
        match letter {
            b'?' | b'h' => (self.version, self.help) = (true, true),
            b'v' => self.version = true,
            b'V' => (self.version, self.configure) = (true, true),
            b't' => self.test = true,
            b'T' => (self.test, self.dump) = (true, true),
            b'q' => self.quiet = true,
            _ => {
                return Err(format!(
                    "invalid option: \"{}\"",
                    OsStr::from_bytes(&[letter]).display()
                ));
            }
        }
        Ok(())
    }

    fn set(&mut self, letter: u8, value: OsString) -> Result<(), String> {
        match letter {
            b'p' => self.prefix = Some(value),
            b'e' => self.error_log = Some(value),
            b'c' => self.configuration = Some(value),
            b'g' => self.directives = Some(value),
            b'H' => self.fields.push(value),
            _ => {
                let request = value.to_str().and_then(Request::from_name);
                self.signal = Some(
                    request.ok_or_else(|| format!("invalid option: \"-s {}\"", value.display()))?,
                );
            }
        }
        Ok(())
    }
}

/// Where things are, after the command line and the identity.
#[derive(Debug, PartialEq, Eq)]
pub struct Places {
    /// `-p`: where relative paths of files to serve and to write lead.
    pub prefix: PathBuf,
    /// The configuration file; `None` is the embedded configuration.
    pub configuration: Option<PathBuf>,
    /// Where relative paths of files to read lead: the configuration file's folder.
    pub configuration_folder: PathBuf,
    /// The log until the configuration names one; `None` is the standard error.
    pub error_log: Option<PathBuf>,
}

impl Places {
    /// The configuration file as the verdicts of `-t` name it.
    pub fn shown_configuration(&self) -> String {
        match &self.configuration {
            Some(path) => path.display().to_string(),
            None => "embedded.conf".to_owned(),
        }
    }

    /// `current` is the current folder; `exists` says whether a file does.
    pub fn of(
        options: &Options,
        identity: &Identity,
        current: &Path,
        exists: impl Fn(&Path) -> bool,
    ) -> Places {
        let installed = Path::new(identity.configuration);
        let embedded = identity.has_embedded_configuration
            && options.configuration.is_none()
            && !exists(installed);
        let prefix = match &options.prefix {
            Some(prefix) => PathBuf::from(prefix),
            None if embedded => current.to_owned(),
            None => PathBuf::from(identity.prefix),
        };
        let error_log = match options.error_log.as_deref().map(OsStr::as_bytes) {
            Some(b"" | b"stderr") => None,
            Some(path) => Some(prefix.join(OsStr::from_bytes(path))),
            None if embedded || !identity.has_log_folder(&exists) => None,
            None => Some(PathBuf::from(identity.error_log)),
        };
        if embedded {
            return Places {
                configuration: None,
                configuration_folder: prefix.clone(),
                error_log,
                prefix,
            };
        }
        let configuration = match &options.configuration {
            Some(path) => prefix.join(path),
            None => installed.to_owned(),
        };
        let configuration_folder = configuration.parent().unwrap_or(&prefix).to_owned();
        Places { configuration: Some(configuration), configuration_folder, error_log, prefix }
    }
}

/// What a letter needs after it; `None` for one that stands alone.
fn requirement_of(letter: u8, identity: &Identity) -> Option<&'static str> {
    Some(match letter {
        b'H' if identity.has_commands => "header field",
        b'p' => "directory name",
        b'e' | b'c' => "file name",
        b'g' | b's' => "parameter",
        _ => return None,
    })
}

const COMMANDS: &str = "Also --help and --version, on the standard output.

With -t:
  --lint        : show what the configuration may mean other than it seems to;
                  --lint=json and --lint=sarif are for programs
  --explain 'GET http://HOST/PATH'
                : show how the configuration would answer a request
  -H 'NAME: VALUE'
                : a header field of that request

Commands, before any option:
  mpm           : show the running process model and its numbers
  mpm set MODEL : choose native, event, worker or prefork in the configuration file;
                  with --apply the server is reloaded
  cache         : list, show, verify and purge the files of a cache;
                  see \"daemun cache --help\"

";

fn help(identity: &Identity) -> String {
    let Identity { name, prefix, error_log, configuration, .. } = identity;
    let commands = if identity.has_commands { COMMANDS } else { "" };
    format!(
        "Usage: {name} [-?hvVtTq] [-s signal] [-p prefix]
             [-e filename] [-c filename] [-g directives]

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a master process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {prefix}/)
  -e filename   : set error log file (default: {error_log})
  -c filename   : set configuration file (default: {configuration})
  -g directives : set global directives out of configuration file

{commands}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{DAEMUN, NGINX};

    fn parse(line: &str) -> Result<Options, String> {
        parse_as(line, &DAEMUN)
    }

    fn parse_as(line: &str, identity: &Identity) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>(), identity)
    }

    #[test]
    fn letters_stand_together_and_values_where_they_like() {
        let expected = Options {
            test: true,
            quiet: true,
            prefix: Some("/srv".into()),
            configuration: Some("a.conf".into()),
            ..Options::default()
        };
        for line in [
            "-t -q -p /srv -c a.conf",
            "-tq -p/srv -ca.conf",
            "-qtc a.conf -p /srv",
            "- -tqp/srv -c a.conf",
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&expected), "{line}");
        }
        assert_eq!(parse("-T").unwrap(), Options { test: true, dump: true, ..Options::default() });
        assert_eq!(parse("-s reload").unwrap().signal, Some(Request::Reload));
        assert_eq!(parse("-sstop").unwrap().signal, Some(Request::Stop));
        assert_eq!(
            parse("-p -t").unwrap().prefix,
            Some("-t".into()),
            "a value may look like an option"
        );
    }

    #[test]
    fn errors_are_nginx_sentences() {
        for (line, sentence) in [
            ("nonsense", "invalid option: \"nonsense\""),
            ("-x", "invalid option: \"x\""),
            ("-tx", "invalid option: \"x\""),
            ("-p", "option \"-p\" requires directory name"),
            ("-e", "option \"-e\" requires file name"),
            ("-tc", "option \"-c\" requires file name"),
            ("-g", "option \"-g\" requires parameter"),
            ("-s", "option \"-s\" requires parameter"),
            ("-s restart", "invalid option: \"-s restart\""),
        ] {
            assert_eq!(parse(line), Err(sentence.to_owned()), "{line}");
        }
    }

    #[test]
    fn long_options_belong_to_daemun() {
        assert_eq!(parse("-t --lint").unwrap().lint, Some(lint::Format::Text));
        assert_eq!(parse("--lint=sarif -tq").unwrap().lint, Some(lint::Format::Sarif));
        let explained = parse("-t --explain /path -HHost:a -H b").unwrap();
        assert_eq!(explained.explain, Some("/path".into()));
        assert_eq!(explained.fields, ["Host:a", "b"]);
        for (line, sentence) in [
            ("--lint", "option \"--lint\" goes with \"-t\""),
            ("-t -H a", "option \"-H\" goes with \"--explain\""),
            ("-t --explain", "option \"--explain\" requires a request"),
            ("--linte", "invalid option: \"--linte\""),
        ] {
            assert_eq!(parse(line), Err(sentence.to_owned()), "{line}");
        }
        assert_eq!(parse_as("-t --lint", &NGINX), Err("invalid option: \"-\"".to_owned()));
        assert_eq!(parse_as("-H a", &NGINX), Err("invalid option: \"H\"".to_owned()));
    }

    #[test]
    fn version_lines_follow_the_name() {
        let nginx = parse("-v").unwrap().about(&NGINX, &[]);
        assert_eq!(
            nginx,
            format!("nginx version: nginx/1.31.5 (daemun/{})\n", env!("CARGO_PKG_VERSION"))
        );
        assert!(parse("-h").unwrap().about(&DAEMUN, &[]).contains("\nUsage: daemun [-?hvVtTq] "));
        assert!(
            parse("-V")
                .unwrap()
                .about(&NGINX, &["http"])
                .contains("\nconfigure arguments: --prefix=/usr/")
        );
        assert!(parse("-v").unwrap().only_informs() && !parse("-vt").unwrap().only_informs());
    }

    fn places(line: &str, identity: &Identity, exists: bool) -> Places {
        Places::of(&parse(line).unwrap(), identity, Path::new("/here"), |_| exists)
    }

    #[test]
    fn relative_paths_lead_to_the_prefix() {
        let here = places("-p /srv/ -c conf/nginx.conf -e error.log", &NGINX, false);
        assert_eq!(here.configuration, Some("/srv/conf/nginx.conf".into()));
        assert_eq!(here.configuration_folder, Path::new("/srv/conf"));
        assert_eq!(here.error_log, Some("/srv/error.log".into()));
        let installed = places("", &NGINX, false);
        assert_eq!(installed.configuration, Some("/etc/nginx/nginx.conf".into()));
        assert_eq!(places("-e stderr", &NGINX, false).error_log, None);
    }

    #[test]
    fn without_a_file_daemun_serves_the_current_folder() {
        let embedded = places("", &DAEMUN, false);
        assert_eq!((embedded.configuration, &*embedded.prefix), (None, Path::new("/here")));
        assert_eq!(embedded.error_log, None);
        assert_eq!(places("", &DAEMUN, true).configuration, Some("/etc/daemun/daemun.conf".into()));
        assert_eq!(
            places("-c a", &DAEMUN, false).configuration,
            Some("/usr/share/daemun/a".into())
        );
    }
}
