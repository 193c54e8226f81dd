//! The Debian packages that the tests need.

use std::io::{IsTerminal, Write, stdin, stdout};
use std::process::{Command, Stdio};

/// Each with what it is for.
const NEEDED: &[(&str, &str)] = &[
    ("nginx-light", "the judge of the differential tests"),
    ("libpcre2-dev", "the judge of patterns"),
    ("pkg-config", "finds libpcre2"),
    ("php-fpm", "applications behind FastCGI"),
    ("uwsgi-core", "applications behind uwsgi"),
    ("uwsgi-plugin-python3", "the applications themselves, and those behind SCGI"),
    ("memcached", "values that are responses"),
    ("python3-websockets", "a server of WebSockets"),
    ("openssl", "keys with passphrases, and what authorities say of certificates"),
];

const INSTALL: &str = include_str!("install.sh");

/// Installs what is missing, once somebody has said so: whoever asked for it with `--yes`, or somebody at the terminal.
/// Without a terminal it is a build that asks, of a machine that is its own.
pub fn install(is_asked_for: bool) -> Result<(), String> {
    let missing: Vec<_> = NEEDED.iter().filter(|(package, _)| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("the tests need Debian packages that are not installed:");
    for (package, purpose) in &missing {
        println!("  {package:<22}{purpose}");
    }
    let packages: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_asked_for && !is_agreed_to()? {
        return Err(format!("not installed. By hand, as root: {by_hand}"));
    }
    match as_root(&packages)?.status() {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("it ended with {status}. By hand, as root: {by_hand}")),
        Err(error) => return Err(format!("{error}: is sudo installed? As root: {by_hand}")),
    }
    println!(
        "installed, and here to stay. None of their services runs, or starts with the system.\n\
         To remove them, as root: apt-get purge --autoremove {}",
        packages.join(" ")
    );
    Ok(())
}

/// Asks at the terminal; where there is none, nobody is waited for.
fn is_agreed_to() -> Result<bool, String> {
    if !stdin().is_terminal() {
        println!("nobody is here to be asked: they are installed");
        return Ok(true);
    }
    print!("They take 190 MB with what they need. Install them with apt-get? [y/N] ");
    let mut answer = String::new();
    let asked = stdout().flush().and_then(|()| stdin().read_line(&mut answer));
    asked.map_err(|error| format!("the terminal: {error}"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn is_installed(package: &str) -> bool {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| output.stdout == b"installed")
}

/// The script, by way of sudo where that is needed.
fn as_root(packages: &[&str]) -> Result<Command, String> {
    if Command::new("apt-get").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Err("there is no apt-get here: install what these are elsewhere".to_owned());
    }
    let mut command = match is_root() {
        true => Command::new("sh"),
        false => {
            let mut sudo = Command::new("sudo");
            if !stdin().is_terminal() {
                sudo.arg("--non-interactive");
            }
            sudo.arg("sh");
            sudo
        }
    };
    command.args(["-c", INSTALL, "install"]).args(packages);
    Ok(command)
}

pub fn is_root() -> bool {
    daemun_sys::identity::effective_uid() == 0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Mutex;

    use daemun_tests::{Folder, Output};

    use super::*;

    /// A program that is being written cannot be run, and whoever is forked meanwhile has it open for a moment.
    static ALONE: Mutex<()> = Mutex::new(());

    const STATE: &str = "var/lib/systemd/deb-systemd-helper-enabled/a.wants";

    /// A root with these programs in its `bin`, and a service that starts with the system already.
    fn root(apt_get: &str) -> Folder {
        let root = Folder::fresh();
        for folder in ["etc/rc2.d", "etc/systemd/system/a.wants", STATE, "usr/sbin", "bin"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        symlink("/nowhere", root.path("etc/rc2.d/S01cron")).unwrap();
        let told = "echo \"${0##*/} $*\" >> \"$INSTALL_ROOT/told\"\n";
        let apt_get = format!(
            "\"$INSTALL_ROOT/usr/sbin/policy-rc.d\"\necho $? >> \"$INSTALL_ROOT/told\"\n{apt_get}\n"
        );
        for (name, program) in [("apt-get", &*apt_get), ("update-rc.d", "")] {
            let path = format!("bin/{name}");
            root.write(&path, format!("#!/bin/sh\n{told}{program}"));
            fs::set_permissions(root.path(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
        root
    }

    fn install_in(root: &Folder) -> Output {
        let path = std::env::var("PATH").unwrap();
        Output::of(
            Command::new("sh")
                .args(["-c", INSTALL, "install", "one", "two"])
                .env("INSTALL_ROOT", root.path("").to_str().unwrap().trim_end_matches('/'))
                .env("PATH", format!("{}:{path}", root.path("bin").display())),
        )
    }

    const BRINGS_SERVICES: &str = "[ \"$1\" = update ] || {
        ln -sf /nowhere \"$INSTALL_ROOT/etc/rc2.d/S01php8.2-fpm\"
        ln -sf /nowhere \"$INSTALL_ROOT/etc/systemd/system/a.wants/php8.2-fpm.service\"
        > \"$INSTALL_ROOT/var/lib/systemd/deb-systemd-helper-enabled/a.wants/php8.2-fpm.service\"
        ln -sf /nowhere \"$INSTALL_ROOT/etc/systemd/system/a.wants/getty.service\"
    }";

    #[test]
    fn services_do_not_start_now_or_later() {
        let _alone = ALONE.lock();
        let root = root(BRINGS_SERVICES);
        let output = install_in(&root);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let told = root.read("told");
        let lines: Vec<&str> = told.lines().collect();
        // apt-get is asked twice, and what asks the policy is told not to start anything.
        assert_eq!((lines[0], lines[1], lines[3]), ("apt-get update --quiet", "101", "101"));
        assert!(lines[2].ends_with(" one two"), "{told}");
        assert_eq!(lines[4..], ["update-rc.d php8.2-fpm disable"]);
        let units = root.path("etc/systemd/system/a.wants");
        let units = fs::read_dir(units).unwrap().map(|unit| unit.unwrap().file_name());
        assert_eq!(units.collect::<Vec<_>>(), ["getty.service"]);
        assert!(!root.path("usr/sbin/policy-rc.d").exists());
    }

    #[test]
    fn a_policy_of_the_machines_own_is_back_however_it_ends() {
        let _alone = ALONE.lock();
        for apt_get in ["exit 0", "exit 100", "kill -TERM $PPID; exit 1", BRINGS_SERVICES] {
            let root = root(apt_get);
            for _ in 0..2 {
                root.write("usr/sbin/policy-rc.d", "the machine's own");
                install_in(&root);
                assert_eq!(root.read("usr/sbin/policy-rc.d"), "the machine's own", "{apt_get}");
                assert_eq!(fs::read_dir(root.path("usr/sbin")).unwrap().count(), 1, "{apt_get}");
            }
        }
    }

    #[test]
    fn what_a_killed_run_left_is_put_right_by_the_next() {
        let _alone = ALONE.lock();
        let root = root("[ -e \"$INSTALL_ROOT/calm\" ] || kill -KILL $PPID");
        root.write("usr/sbin/policy-rc.d", "the machine's own");
        assert_eq!(install_in(&root).code, None, "it was killed");
        assert!(root.read("usr/sbin/policy-rc.d").contains("exit 101"));
        root.write("calm", "");
        assert_eq!(install_in(&root).code, Some(0));
        assert_eq!(root.read("usr/sbin/policy-rc.d"), "the machine's own");
        assert_eq!(fs::read_dir(root.path("usr/sbin")).unwrap().count(), 1);
    }
}
