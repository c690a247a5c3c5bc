//! Work on threads, whose results come back in the order in which the work was submitted.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A fixed number of threads that all turn a `T` into an `R`.
///
/// The caller bounds what is in flight, and with it the memory: it submits while [`OrderedPool::has_room`], and takes one
/// result otherwise. The threads end when this is dropped.
pub struct OrderedPool<T, R> {
    jobs: Sender<(u64, T)>,
    results: Receiver<(u64, R)>,
    /// Results from number `first` on, as far as jobs were submitted; `None` for jobs still being worked on.
    window: VecDeque<Option<R>>,
    first: u64,
    limit: usize,
}

impl<T: Send + 'static, R: Send + 'static> OrderedPool<T, R> {
    /// Starts `threads` threads. `worker` makes the function that each of them runs, with its own state.
    ///
    /// # Errors
    /// If not even one thread can be started.
    pub fn start<F>(threads: NonZero<usize>, worker: impl Fn() -> F) -> io::Result<Self>
    where
        F: FnMut(T) -> R + Send + 'static,
    {
        let (jobs, queue) = channel::<(u64, T)>();
        let (sender, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let mut started = 0;
        for _ in 0..threads.get() {
            let (queue, sender, mut work) = (Arc::clone(&queue), sender.clone(), worker());
            let spawned = thread::Builder::new().name("block".into()).spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, job)) = next else { break };
                    if sender.send((number, work(job))).is_err() {
                        break;
                    }
                }
            });
            match spawned {
                Ok(_) => started += 1,
                // Fewer threads than requested do the same work.
                Err(_) if started > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(OrderedPool {
            jobs,
            results,
            window: VecDeque::new(),
            first: 0,
            // Two for each thread, the one that it works on and the next, and one that the caller fills or empties.
            limit: 2 * started + 1,
        })
    }

    /// True while another job may be submitted.
    pub fn has_room(&self) -> bool {
        self.window.len() < self.limit
    }

    /// Submits the next job.
    pub fn submit(&mut self, job: T) {
        let number = self.first + self.window.len() as u64;
        self.window.push_back(None);
        // The threads outlive this value unless one panicked, which `take` then reports.
        let _ = self.jobs.send((number, job));
    }

    /// The oldest result, waited for; `None` when nothing is in flight.
    ///
    /// # Errors
    /// If the threads are gone, which only a panic in one of them can cause.
    pub fn take(&mut self) -> io::Result<Option<R>> {
        while let Some(None) = self.window.front() {
            let (number, result) = self.results.recv().map_err(|_| lost())?;
            let slot = self.window.get_mut((number - self.first) as usize);
            *slot.ok_or_else(lost)? = Some(result);
        }
        let Some(result) = self.window.pop_front() else {
            return Ok(None);
        };
        self.first += 1;
        Ok(result)
    }

    /// The oldest result, if it is ready.
    pub fn take_ready(&mut self) -> io::Result<Option<R>> {
        for (number, result) in self.results.try_iter() {
            let slot = self.window.get_mut((number - self.first) as usize);
            *slot.ok_or_else(lost)? = Some(result);
        }
        match self.window.front() {
            Some(Some(_)) => self.take(),
            _ => Ok(None),
        }
    }
}

fn lost() -> io::Error {
    io::Error::other("a worker thread was lost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        for threads in [1, 2, 7] {
            let threads = NonZero::new(threads).unwrap();
            let mut pool = OrderedPool::start(threads, || {
                |n: u64| {
                    thread::sleep(std::time::Duration::from_micros(n * 7919 % 97));
                    n
                }
            })
            .unwrap();
            let mut out = Vec::new();
            for n in 0..200 {
                while !pool.has_room() {
                    out.extend(pool.take().unwrap());
                }
                pool.submit(n);
                out.extend(pool.take_ready().unwrap());
            }
            while let Some(n) = pool.take().unwrap() {
                out.push(n);
            }
            assert_eq!(out, (0..200).collect::<Vec<_>>());
        }
    }
}
