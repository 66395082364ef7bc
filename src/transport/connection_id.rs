//! Connection ids of a server: RFC 9000, section 5.1.

use std::num::NonZeroU8;

use s2n_quic::provider::connection_id::{ConnectionInfo, Generator, LocalId, Validator};

use super::quic_lb::{self, ServerIdEncoder};

/// Bytes of every connection id of a server.
const LENGTH: usize = 16;

/// How packets find their worker: by one byte of their connection id, modulo the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steering {
    /// Where the byte is. The first id of a connection is its client's: random, and at least 8
    /// bytes long.
    pub(super) position: usize,
    pub(super) workers: NonZeroU8,
}

impl Steering {
    /// The worker that packets with this connection id come to.
    fn worker(self, id: &[u8]) -> Option<u8> {
        id.get(self.position).map(|byte| *byte % self.workers)
    }
}

/// A worker, among those that its port is shared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) index: u8,
    pub(super) steering: Steering,
}

impl Worker {
    /// Returns true if packets with this connection id come to this worker.
    pub(super) fn owns(self, id: &[u8]) -> bool {
        self.steering.worker(id) == Some(self.index)
    }

    /// Returns true if the port is shared with nobody.
    pub(super) fn is_alone(self) -> bool {
        self.steering.workers == NonZeroU8::MIN
    }

    /// Changes a random connection id as little as it takes to own it.
    fn claim(self, id: &mut [u8]) {
        let Some(byte) = id.get_mut(self.steering.position) else { return };
        let workers = self.steering.workers;
        let claimed = *byte - *byte % workers;
        // Of the last few values there is none for every worker.
        let below = || claimed - workers.get() + self.index;
        *byte = claimed.checked_add(self.index).unwrap_or_else(below);
    }
}

/// Makes the connection ids of one worker.
#[derive(Debug)]
pub(super) struct ConnectionIds {
    worker: Worker,
    server_id: Option<ServerIdEncoder>,
}

impl ConnectionIds {
    /// Those with a server's ID for its balancer, where there is one.
    pub(super) fn new(worker: Worker, server_id: Option<ServerIdEncoder>) -> Self {
        Self { worker, server_id }
    }

    /// Where the workers' byte is: behind what is the balancer's.
    pub(super) fn position(server_id: Option<&ServerIdEncoder>) -> usize {
        if server_id.is_some() { quic_lb::LENGTH } else { 0 }
    }

    fn next(&self) -> [u8; LENGTH] {
        let mut id = rand::random::<[u8; LENGTH]>();
        if let Some(server_id) = &self.server_id {
            server_id.encode(&mut id);
        }
        self.worker.claim(&mut id);
        id
    }
}

impl Generator for ConnectionIds {
    fn generate(&mut self, _: &ConnectionInfo) -> LocalId {
        // Only an id that is too short or too long is none.
        LocalId::try_from_bytes(&self.next()).unwrap_or_else(|| rand::random::<[u8; 20]>().into())
    }
}

impl Validator for ConnectionIds {
    fn validate(&self, _: &ConnectionInfo, packet: &[u8]) -> Option<usize> {
        (packet.len() >= LENGTH).then_some(LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::super::quic_lb::LoadBalancing;
    use super::*;

    fn all_ids(position: usize, server_id: Option<&ServerIdEncoder>, workers: u8) {
        let steering = Steering { position, workers: NonZeroU8::new(workers).unwrap() };
        for index in 0..workers {
            let ids = ConnectionIds::new(Worker { index, steering }, server_id.cloned());
            for _ in 0..500 {
                let id = ids.next();
                let owners: Vec<_> = (0..workers)
                    .filter(|index| Worker { index: *index, steering }.owns(&id))
                    .collect();
                assert_eq!(owners, [index], "{id:?} of {workers}");
            }
        }
    }

    #[test]
    fn an_id_comes_to_the_worker_that_made_it_and_to_no_other() {
        let server_id = "2a".parse().unwrap();
        let encoder = ServerIdEncoder::new(&LoadBalancing { server_id, key: None }).unwrap();
        for workers in [1, 2, 3, 7, 8, 63, 64] {
            all_ids(ConnectionIds::position(None), None, workers);
            all_ids(ConnectionIds::position(Some(&encoder)), Some(&encoder), workers);
        }
        assert!(ConnectionIds::position(Some(&encoder)) < 8, "the shortest id of a client");
    }

    #[test]
    fn the_byte_of_the_worker_takes_every_value_that_it_may() {
        let steering = Steering { position: 0, workers: NonZeroU8::new(3).unwrap() };
        let worker = Worker { index: 1, steering };
        let mut claimed: Vec<_> = (0..=255)
            .map(|byte| {
                let mut id = [byte; LENGTH];
                worker.claim(&mut id);
                assert_eq!(id[1..], [byte; LENGTH - 1]);
                id[0]
            })
            .collect();
        claimed.dedup();
        assert_eq!(claimed, (1..=253).step_by(3).collect::<Vec<u8>>());
    }
}
