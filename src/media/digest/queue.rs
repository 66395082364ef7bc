//! Whose turn it is to be hashed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::Job;
use crate::media::file::File;
use crate::media::identity::FileIdentity;

/// Files that may wait for their turn.
const MOST: usize = 1024;

/// Files that are kept open for clients that were told to come back.
const MOST_HELD: usize = 64;

/// For how long: a client that tries again may wait 10 s in between.
const HELD_FOR: Duration = Duration::from_secs(15);

/// Files that cannot be read which are remembered.
const MOST_UNREADABLE: usize = 64;

/// The files that wait for their digest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Whether the next turn goes to the job with the least left, and not to the first in line.
    shortest: bool,
    held: Vec<(Arc<File>, Instant)>,
    unreadable: VecDeque<FileIdentity>,
}

impl Queue {
    /// Adds a job at the end, unless there are too many of them.
    pub(super) fn push(&mut self, job: Job) -> Result<(), Job> {
        if self.jobs.len() >= MOST {
            self.jobs.retain(Job::is_wanted);
        }
        if self.jobs.len() >= MOST {
            return Err(job);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Gives back a job that had its turn.
    pub(super) fn put_back(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Takes the job whose turn it is. Every other turn goes to the one with the least left, so
    /// that a short file has its digest at once; in between all take turns, so that none starves.
    pub(super) fn take(&mut self) -> Option<Job> {
        self.jobs.retain(Job::is_wanted);
        self.shortest = !self.shortest;
        let by_left = |(_, job): &(usize, &Job)| job.left();
        match self.jobs.iter().enumerate().min_by_key(by_left).filter(|_| self.shortest) {
            Some((index, _)) => self.jobs.remove(index),
            None => self.jobs.pop_front(),
        }
    }

    /// Keeps `file` open until its digest was not asked for in a while.
    pub(super) fn hold(&mut self, file: &Arc<File>, now: Instant) {
        let until = now + HELD_FOR;
        if let Some(held) = self.held.iter_mut().find(|(held, _)| Arc::ptr_eq(held, file)) {
            held.1 = until;
        } else if self.held.len() < MOST_HELD {
            self.held.push((file.clone(), until));
        }
    }

    /// Closes the files that were not asked for in a while, and tells when the next one is due.
    pub(super) fn release(&mut self, now: Instant) -> Option<Instant> {
        self.held.retain(|(_, until)| *until > now);
        self.held.iter().map(|(_, until)| *until).min()
    }

    /// Notes that a file cannot be read, however often it is tried.
    pub(super) fn give_up(&mut self, identity: FileIdentity) {
        if !self.is_unreadable(identity) {
            self.unreadable.truncate(MOST_UNREADABLE - 1);
            self.unreadable.push_front(identity);
        }
    }

    pub(super) fn is_unreadable(&self, identity: FileIdentity) -> bool {
        self.unreadable.contains(&identity)
    }

    /// Drops everything that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
