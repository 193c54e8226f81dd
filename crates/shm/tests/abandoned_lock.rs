//! A child dies with the lock in hand. It is forked, so this program has no test harness: forking
//! is only safe while there is one thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use daemun_shm::{Acquired, Region, SharedMutex};

fn main() {
    let mutex = SharedMutex::new().unwrap();
    let guarded: Region<AtomicU64> = Region::new(2).unwrap();

    in_child(|| {
        let _guard = mutex.lock().unwrap();
        guarded[0].store(1, Relaxed);
        die();
    });
    assert_eq!(guarded[0].load(Relaxed), 1, "the mapping is shared");

    match mutex.lock().unwrap() {
        Acquired::Clean(_) => panic!("the holder died, and nobody was told"),
        Acquired::Abandoned(guard) => {
            guarded[0].store(0, Relaxed);
            guard.mark_consistent();
        }
    }
    assert!(matches!(mutex.lock().unwrap(), Acquired::Clean(_)), "it was repaired");

    in_child(|| {
        let _guard = mutex.lock().unwrap();
        die();
    });
    drop(mutex.lock().unwrap());
    let error = mutex.lock().err().expect("nobody repaired it");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTRECOVERABLE));
    println!("abandoned_lock: ok");
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
