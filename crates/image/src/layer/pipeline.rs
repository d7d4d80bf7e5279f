//! One thread decompresses, the caller's consumes, and whoever would have to wait hashes meanwhile: each buffer goes to both without a
//! copy and is used again.
//!
//! A hashing thread of its own only pays where there is a third processor for it. On two, it would take turns with the decompressing
//! thread, which is the one that everything waits for.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::compression::Decoder;
use crate::digest::{Digest, Hasher};

/// Small enough that a buffer is still in the second-level cache when the next thread reads it.
const CHUNK: usize = 256 * 1024;
/// Buffers on their way to the consumer: enough to even out a burst of small files.
const DEPTH: usize = 16;
/// Buffers that wait to be hashed. Beyond these, the decompressing thread hashes before it goes on.
const UNHASHED: usize = 32;

/// A filled buffer. When its last user drops it, it goes back to be filled again.
struct Chunk {
    bytes: Vec<u8>,
    length: usize,
    pool: Sender<Vec<u8>>,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // At the end nobody waits for buffers any more; then it is simply freed.
        let _ = self.pool.send(std::mem::take(&mut self.bytes));
    }
}

/// The hashing that is still to be done, by whoever has the time.
struct Hashing {
    /// Locked by who hashes; buffers are taken from the queue under this lock only, which keeps their order.
    hasher: Mutex<Hasher>,
    queue: Mutex<VecDeque<Arc<Chunk>>>,
}

impl Hashing {
    fn new() -> Self {
        Self { hasher: Mutex::new(Hasher::new()), queue: Mutex::new(VecDeque::new()) }
    }

    /// Adds a buffer. Returns how many wait.
    fn push(&self, chunk: Arc<Chunk>) -> usize {
        let mut queue = lock(&self.queue);
        queue.push_back(chunk);
        queue.len()
    }

    /// Hashes one buffer, unless none waits or another thread is hashing. True if it did.
    fn help(&self) -> bool {
        self.hasher.try_lock().is_ok_and(|hasher| self.hash_one(hasher))
    }

    /// Hashes one buffer, when it is its turn. False if none waits.
    fn take_turn(&self) -> bool {
        self.hash_one(lock(&self.hasher))
    }

    fn hash_one(&self, mut hasher: MutexGuard<'_, Hasher>) -> bool {
        let Some(chunk) = lock(&self.queue).pop_front() else {
            return false;
        };
        hasher.update(&chunk.bytes[..chunk.length]);
        true
    }

    /// The digest of everything, once nothing more is added.
    fn finish(&self) -> Digest {
        while self.take_turn() {}
        std::mem::take(&mut *lock(&self.hasher)).finish()
    }
}

/// A poisoned lock means a panic that is being passed on already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The uncompressed stream, as the consumer reads it.
pub(super) struct Chunks<'a> {
    receiver: Receiver<io::Result<Arc<Chunk>>>,
    hashing: Option<&'a Hashing>,
    current: Option<Arc<Chunk>>,
    at: usize,
}

impl Chunks<'_> {
    /// Reads to the end.
    pub(super) fn drain(mut self) -> io::Result<()> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume(count);
        }
    }

    /// The next buffer, or `None` at the end of the stream, which is a closed channel.
    fn receive(&self) -> Option<io::Result<Arc<Chunk>>> {
        loop {
            match self.receiver.try_recv() {
                Ok(chunk) => return Some(chunk),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) if self.hashing.is_some_and(Hashing::help) => {}
                Err(TryRecvError::Empty) => return self.receiver.recv().ok(),
            }
        }
    }
}

impl BufRead for Chunks<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.length) {
            self.at = 0;
            // Given back before the wait, so that it can be filled during it.
            self.current = None;
            self.current = self.receive().transpose()?;
        }
        let chunk = self.current.as_ref();
        Ok(chunk.map_or(&[], |chunk| &chunk.bytes[self.at..chunk.length]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.fill_buf()?;
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Runs `consume` over what `decoder` gives. Returns its result and, if asked for, the digest of the whole stream.
pub(super) fn run<T, E: From<StreamError>>(
    decoder: Decoder,
    hash: bool,
    consume: impl FnOnce(Chunks<'_>) -> Result<T, E>,
) -> Result<(T, Option<Digest>), E> {
    let hashing = hash.then(Hashing::new);
    let hashing = hashing.as_ref();
    let result = thread::scope(|scope| {
        let spare = thread::available_parallelism().is_ok_and(|processors| processors.get() > 2);
        let ticks = match hashing.filter(|_| spare) {
            None => None,
            Some(hashing) => {
                let (ticks, receiver) = channel::<()>();
                let own = move || {
                    for () in receiver {
                        hashing.take_turn();
                    }
                };
                thread::Builder::new().name("hash".to_owned()).spawn_scoped(scope, own).map_err(StreamError)?;
                Some(ticks)
            }
        };
        let (to_consumer, receiver) = sync_channel(DEPTH);
        let producer = Producer { to_consumer, hashing, ticks };
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn_scoped(scope, move || producer.run(decoder))
            .map_err(StreamError)?;
        consume(Chunks { receiver, hashing, current: None, at: 0 })
    })?;
    Ok((result, hashing.map(Hashing::finish)))
}

/// A thread could not be started.
#[derive(Debug)]
pub(super) struct StreamError(pub(super) io::Error);

impl From<StreamError> for super::LayerError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error.0)
    }
}

/// The decompressing thread's side.
struct Producer<'a> {
    to_consumer: SyncSender<io::Result<Arc<Chunk>>>,
    hashing: Option<&'a Hashing>,
    /// Wakes the hashing thread, where there is one.
    ticks: Option<Sender<()>>,
}

impl Producer<'_> {
    /// Fills buffers until the stream ends, fails, or nobody consumes it any more.
    fn run(&self, mut decoder: Decoder) {
        let (pool, returned) = channel();
        loop {
            let mut bytes = returned.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
            let (length, end) = fill(&mut decoder, &mut bytes);
            if length > 0 && !self.give(Arc::new(Chunk { bytes, length, pool: pool.clone() })) {
                return;
            }
            match end {
                None => {}
                Some(Ok(())) => return,
                Some(Err(error)) => {
                    // The consumer may be gone already, with an error of its own.
                    let _ = self.to_consumer.send(Err(error));
                    return;
                }
            }
        }
    }

    /// Gives a buffer to be hashed and consumed. False if nobody consumes any more.
    fn give(&self, chunk: Arc<Chunk>) -> bool {
        if let Some(hashing) = self.hashing {
            let waiting = hashing.push(Arc::clone(&chunk));
            if let Some(ticks) = &self.ticks {
                // That thread ends only after this one.
                let _ = ticks.send(());
            }
            if waiting > UNHASHED {
                hashing.take_turn();
            }
        }
        let mut chunk = Ok(chunk);
        loop {
            chunk = match self.to_consumer.try_send(chunk) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(chunk)) if self.hashing.is_some_and(Hashing::help) => chunk,
                Err(TrySendError::Full(chunk)) => return self.to_consumer.send(chunk).is_ok(),
            };
        }
    }
}

/// Fills a buffer. Returns how far, and how the stream ended if it did.
fn fill(decoder: &mut Decoder, bytes: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut length = 0;
    while length < bytes.len() {
        match decoder.read(&mut bytes[length..]) {
            Ok(0) => return (length, Some(Ok(()))),
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(Err(error))),
        }
    }
    (length, None)
}
