//! Children die while they divide a zone. They are forked, so this program has no test harness.

use daemun_shm::{Handle, Number, Zone, plain};

plain! {
    struct Page {
        words: [Number; 512],
    }
}

fn main() {
    let zone = Zone::new("test", Zone::LEAST).unwrap();
    let kept: Handle<Page> = zone.lock().allocate().unwrap();
    zone.at(kept).words[511].set(7);

    for death in 1..=20 {
        in_child(|| {
            let locked = zone.lock();
            // what it took is lost with it, unless somebody finds it
            let taken: Handle<Page> = locked.allocate_slice(3).unwrap();
            locked.free(taken);
            zone.root().set(kept.number());
            die();
        });
        let locked = zone.lock();
        assert_eq!(zone.deaths(), death, "whoever comes next is told");
        assert_eq!(zone.at(kept).words[511].get(), 7);
        let others: Vec<Handle<Page>> = std::iter::from_fn(|| locked.allocate()).collect();
        assert_eq!(others.len(), 6, "all but the zone's own page and the one that is kept");
        others.into_iter().for_each(|page| locked.free(page));
    }
    println!("abandoned_zone: ok");
}

/// Runs `work`, which kills its process, in a forked child, and waits for the end.
fn in_child(work: impl FnOnce()) {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => panic!("{}", std::io::Error::last_os_error()),
        0 => {
            work();
            std::process::exit(1);
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is valid for the call.
            let reaped = unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(reaped, child);
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
        }
    }
}

fn die() {
    // SAFETY: kill touches no memory.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}
