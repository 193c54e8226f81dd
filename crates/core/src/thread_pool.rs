//! `thread_pool`: named groups of threads for what would block a reactor, such as reading a file.
//!
//! The configuration only names pools. A process starts a pool's threads when there is work for
//! them, so after the fork, and no more than there is work for.

mod running;

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use daemun_conf as conf;

use crate::load::{Block, Fault, Loader};
use crate::module::{Module, SettingsKey};
use crate::setting::Own;
use crate::{directives, settings, values};

pub use running::{Job, ThreadPool, Ticket};

/// A pool as the configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    pub name: String,
    pub threads: usize,
    /// Tasks that may wait while all threads work.
    pub max_queue: usize,
}

impl PoolSpec {
    /// The pool of `aio threads` without a name.
    pub const DEFAULT: &str = "default";

    const THREADS: usize = 32;
    const MAX_QUEUE: usize = 65_536;
}

settings! {
    pub struct Settings {
        pools: Own<Vec<PoolSpec>>,
    }
}

pub static SETTINGS: SettingsKey<Settings> = SettingsKey::new();

pub static MODULE: Module = Module {
    name: "thread_pool",
    settings: Some(&SETTINGS),
    directives: directives! {
        "thread_pool" in MAIN, Between(2, 3), "default threads=32 max_queue=65536",
            Action::Set(thread_pool),
            "A pool of threads that read and write files, and how many tasks may wait for them.";
    },
};

/// The pools of a configuration; the default one is there whether or not it is named.
pub fn pools_of(main: &Block) -> Vec<PoolSpec> {
    let mut pools = main.settings.of(&SETTINGS).pools.0.clone();
    if !pools.iter().any(|pool| pool.name == PoolSpec::DEFAULT) {
        pools.push(PoolSpec {
            name: PoolSpec::DEFAULT.to_owned(),
            threads: PoolSpec::THREADS,
            max_queue: PoolSpec::MAX_QUEUE,
        });
    }
    pools
}

/// The process's running pool for a configured one. All its threads share it; each asks once.
pub fn running(spec: &'static PoolSpec) -> Arc<ThreadPool> {
    thread_local! {
        static KNOWN: RefCell<Vec<(&'static PoolSpec, Arc<ThreadPool>)>> =
            const { RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some((_, pool)) = known.iter().find(|(of, _)| std::ptr::eq(*of, spec)) {
            return Arc::clone(pool);
        }
        let pool = shared(spec);
        known.push((spec, Arc::clone(&pool)));
        pool
    })
}

/// A pool ends with the last thread that uses it.
fn shared(spec: &'static PoolSpec) -> Arc<ThreadPool> {
    static RUNNING: Mutex<Vec<(&'static PoolSpec, Weak<ThreadPool>)>> = Mutex::new(Vec::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.retain(|(_, pool)| pool.strong_count() > 0);
    let found = running.iter().find(|(of, _)| std::ptr::eq(*of, spec));
    if let Some(pool) = found.and_then(|(_, pool)| pool.upgrade()) {
        return pool;
    }
    let pool = Arc::new(ThreadPool::new(spec));
    running.push((spec, Arc::downgrade(&pool)));
    pool
}

fn thread_pool(loader: &mut Loader<'_>, directive: &conf::Directive) -> Result<(), Fault> {
    let name = values::text(directive)?;
    let (mut threads, mut max_queue) = (0, PoolSpec::MAX_QUEUE);
    for word in &directive.args[1..] {
        let number =
            |digits| conf::units::integer(digits).and_then(|number| usize::try_from(number).ok());
        let invalid =
            |what: &str| Fault::from(format!("invalid {what} value \"{word}\"")).at(word.span);
        if let Some(digits) = word.text.strip_prefix(b"threads=") {
            let count = number(digits).filter(|count| *count > 0);
            threads = count.ok_or_else(|| invalid("threads"))?;
        } else if let Some(digits) = word.text.strip_prefix(b"max_queue=") {
            max_queue = number(digits).ok_or_else(|| invalid("max_queue"))?;
        }
    }
    if threads == 0 {
        return Err("\"thread_pool\" must have \"threads\" parameter".to_owned().into());
    }
    let pools = &mut loader.settings(&SETTINGS).pools.0;
    if pools.iter().any(|pool| pool.name == name) {
        return Err(format!("duplicate thread pool \"{name}\"").into());
    }
    pools.push(PoolSpec { name, threads, max_queue });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{main_context, tables};

    fn read(text: &str) -> Result<Vec<PoolSpec>, Vec<String>> {
        tables::load(main_context::MODULES, text).map(|main| pools_of(&main))
    }

    #[test]
    fn the_default_pool_is_always_there() {
        let pools = read("thread_pool disk threads=3 max_queue=7;").unwrap();
        let sizes: Vec<_> =
            pools.iter().map(|pool| (&*pool.name, pool.threads, pool.max_queue)).collect();
        assert_eq!(sizes, [("disk", 3, 7), ("default", 32, 65_536)]);
        let own = read("thread_pool default threads=2;").unwrap();
        assert_eq!((own.len(), own[0].threads, own[0].max_queue), (1, 2, 65_536));
    }

    #[test]
    fn mistakes_are_told_in_nginx_words() {
        for (text, sentence) in [
            ("thread_pool a max_queue=1;", "\"thread_pool\" must have \"threads\" parameter"),
            ("thread_pool a threads=0;", "invalid threads value \"threads=0\""),
            ("thread_pool a threads=1 max_queue=x;", "invalid max_queue value \"max_queue=x\""),
            ("thread_pool a threads=1; thread_pool a threads=2;", "duplicate thread pool \"a\""),
        ] {
            assert_eq!(read(text).unwrap_err(), [sentence], "{text}");
        }
    }
}
