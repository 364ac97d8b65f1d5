//! Helper threads that live for one call.
//!
//! There is no pool: between calls the package has no thread, so a forked child inherits nothing and nothing hangs at
//! exit. What a thread computes depends on block numbers alone, never on which thread it is, so results do not depend
//! on how many there are. Starting a thread costs about 90 µs: callers ask for helpers only for work over about 2 ms.

use crate::error::{Error, Result};
use crate::simd::DefaultControlWord;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Work below this many nanoseconds (estimated) is not worth a second thread.
const WORTHWHILE: f64 = 2e6;

/// `n` zeros, or an error where the memory cannot be had. (A failed allocation in Rust ends the process.)
pub fn zeros<T: Clone + Default>(n: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    let failed = |_| Error::Memory { bytes: n.saturating_mul(size_of::<T>()) };
    vector.try_reserve_exact(n).map_err(failed)?;
    vector.resize(n, T::default());
    Ok(vector)
}

/// How many threads a call uses: `requested`, or what this process may use; never more than `blocks`, and one where
/// the estimated work does not pay.
pub fn threads(requested: Option<usize>, blocks: usize, nanoseconds: f64) -> usize {
    if blocks < 2 {
        return 1;
    }
    match requested {
        Some(n) => n.clamp(1, blocks),
        None if nanoseconds < WORTHWHILE => 1,
        None => available().clamp(1, blocks),
    }
}

/// How many threads this process may use: its affinity and cgroup quota, `ERMIN_NUM_THREADS`, `OMP_NUM_THREADS`.
pub fn available() -> usize {
    let hardware = thread::available_parallelism().map_or(1, usize::from);
    ["ERMIN_NUM_THREADS", "OMP_NUM_THREADS"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok()?.trim().parse::<usize>().ok())
        .filter(|n| *n > 0)
        .fold(hardware, usize::min)
}

/// The threads of a call, by their places in Linux's /proc. A joined thread may be counted there for a moment still, and
/// CPython warns at a fork by that count: so a call returns when they are gone.
#[derive(Default)]
struct Places(Mutex<Vec<PathBuf>>);

impl Places {
    /// Notes the thread that calls this.
    fn note(&self) {
        if let Ok(place) = std::fs::read_link("/proc/thread-self") {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Path::new("/proc").join(place));
        }
    }

    /// Waits until the threads, which have ended, are gone.
    fn wait(self) {
        // Some microseconds; the bound is for another thread that was given a number again.
        let patience = Instant::now() + Duration::from_millis(100);
        for place in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            while place.exists() && Instant::now() < patience {
                thread::yield_now();
            }
        }
    }
}

/// Calls `f` with every item, on up to `n_threads` threads; which thread takes which item is not fixed.
pub fn for_each<I: Send>(n_threads: usize, items: impl Iterator<Item = I> + Send, f: impl Fn(I) + Sync) {
    for_each_until(n_threads, items, f, &|| false);
}

/// The same, but the calling thread asks `stop` before each of its items: once it is true, no more are taken.
/// Returns whether it ever was.
pub fn for_each_until<I: Send>(
    n_threads: usize,
    items: impl Iterator<Item = I> + Send,
    f: impl Fn(I) + Sync,
    stop: &dyn Fn() -> bool,
) -> bool {
    let items = Mutex::new(items);
    let stopped = AtomicBool::new(false);
    // A poisoned lock means that another thread panicked: stop, and let the scope pass its panic on.
    let next =
        || items.lock().ok().filter(|_| !stopped.load(Ordering::Relaxed)).and_then(|mut items| items.next());
    let places = Places::default();
    let help = || {
        places.note();
        let _control_word = DefaultControlWord::new();
        while let Some(item) = next() {
            f(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..n_threads {
            // Where no thread can be had, those there are do the work.
            if thread::Builder::new().spawn_scoped(scope, help).is_err() {
                break;
            }
        }
        while let Some(item) = next() {
            f(item);
            if stop() {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    });
    places.wait();
    stopped.into_inner()
}

/// Helpers that do one kind of work again and again, together with the caller.
pub struct Team<'a> {
    state: &'a State,
    helpers: Vec<Thread>,
}

#[derive(Default)]
struct State {
    /// Counts the rounds; a change is the signal to start.
    round: AtomicUsize,
    /// Helpers still busy in this round.
    busy: AtomicUsize,
    stop: AtomicBool,
    panicked: AtomicBool,
}

/// How long a thread looks before it sleeps: some microseconds, about the gap between two steps.
const SPINS: usize = 4000;

fn wait(until: impl Fn() -> bool) {
    let mut spins = 0;
    while !until() {
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            thread::park();
        }
    }
}

/// Calls `body` with a team of up to `n` members: the caller, who is member 0, and helpers, each of which does
/// `work(member)` in every round. The helpers are gone when this returns.
pub fn with_team<R>(n: usize, work: &(dyn Fn(usize) + Sync), body: impl FnOnce(&mut Team) -> R) -> R {
    let state = State::default();
    let caller = thread::current();
    let places = Places::default();
    let result = thread::scope(|scope| {
        let helpers: Vec<Thread> = (1..n)
            .map_while(|member| {
                let (state, caller, places) = (&state, caller.clone(), &places);
                let helper = move || {
                    places.note();
                    let _control_word = DefaultControlWord::new();
                    let mut seen = 0;
                    loop {
                        wait(|| state.round.load(Ordering::Acquire) != seen);
                        if state.stop.load(Ordering::Acquire) {
                            return;
                        }
                        seen += 1;
                        let done = Done { state, caller: &caller };
                        work(member);
                        drop(done);
                    }
                };
                thread::Builder::new().spawn_scoped(scope, helper).ok().map(|handle| handle.thread().clone())
            })
            .collect();
        let mut team = Team { state: &state, helpers };
        body(&mut team)
    });
    places.wait();
    result
}

impl Team<'_> {
    /// Members, the caller among them.
    pub fn members(&self) -> usize {
        self.helpers.len() + 1
    }

    /// One round: every helper does its work, the caller his `own`; returns when all have.
    pub fn run(&mut self, own: impl FnOnce()) {
        if self.helpers.is_empty() {
            return own();
        }
        self.state.busy.store(self.helpers.len(), Ordering::Relaxed);
        self.start_round();
        own();
        wait(|| self.state.busy.load(Ordering::Acquire) == 0);
        assert!(!self.state.panicked.load(Ordering::Acquire), "a helper thread panicked");
    }

    fn start_round(&self) {
        self.state.round.fetch_add(1, Ordering::Release);
        self.helpers.iter().for_each(Thread::unpark);
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        self.start_round();
    }
}

/// Says that a helper has finished its round, also when it panics.
struct Done<'a> {
    state: &'a State,
    caller: &'a Thread,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.state.panicked.store(true, Ordering::Release);
        }
        if self.state.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.caller.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn every_item_is_taken_once() {
        for n in [1, 2, 8] {
            let seen: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
            for_each(n, seen.iter(), |count| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn no_item_is_taken_after_a_stop() {
        let seen = AtomicUsize::new(0);
        let f = |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        assert!(for_each_until(1, 0..1000, f, &|| seen.load(Ordering::Relaxed) == 5));
        assert_eq!(seen.into_inner(), 5);
    }

    #[test]
    fn every_member_works_in_every_round() {
        for n in [1, 2, 5] {
            let counts: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            let work = |member: usize| {
                counts[member].fetch_add(1, Ordering::Relaxed);
            };
            with_team(n, &work, |team| (0..500).for_each(|_| team.run(|| work(0))));
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 500));
        }
    }

    #[test]
    fn a_panic_in_a_helper_reaches_the_caller() {
        let work = |member: usize| assert_ne!(member, 1, "meant");
        let result = catch_unwind(AssertUnwindSafe(|| with_team(2, &work, |team| team.run(|| work(0)))));
        assert!(result.is_err());
    }
}
