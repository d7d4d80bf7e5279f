//! One thread decompresses, one hashes, the caller consumes: each buffer goes to both without a copy and is used again.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::compression::Decoder;
use crate::digest::{Digest, Hasher};

/// Small enough that a buffer is still in the second-level cache when the next thread reads it.
const CHUNK: usize = 256 * 1024;
/// Buffers on their way to one consumer: enough to even out a burst of small files.
const DEPTH: usize = 8;

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

/// The uncompressed stream, as the consumer reads it.
pub(super) struct Chunks {
    receiver: Receiver<io::Result<Arc<Chunk>>>,
    current: Option<Arc<Chunk>>,
    at: usize,
}

impl Chunks {
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
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.length) {
            self.at = 0;
            // A closed channel is the end of the stream.
            self.current = self.receiver.recv().ok().transpose()?;
        }
        let chunk = self.current.as_ref();
        Ok(chunk.map_or(&[], |chunk| &chunk.bytes[self.at..chunk.length]))
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Chunks {
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
    consume: impl FnOnce(Chunks) -> Result<T, E>,
) -> Result<(T, Option<Digest>), E> {
    thread::scope(|scope| {
        let (to_consumer, receiver) = sync_channel(DEPTH);
        let (to_hasher, hasher) = if hash {
            let (sender, receiver) = sync_channel(DEPTH);
            let hasher = thread::Builder::new().name("hash".to_owned()).spawn_scoped(scope, move || digest(&receiver));
            (Some(sender), Some(hasher.map_err(StreamError)?))
        } else {
            (None, None)
        };
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn_scoped(scope, move || decompress(decoder, &to_consumer, to_hasher.as_ref()))
            .map_err(StreamError)?;
        let result = consume(Chunks { receiver, current: None, at: 0 })?;
        // A panic of the hasher is a bug of ours; passing it on keeps its message.
        let digest = hasher.map(|hasher| hasher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok((result, digest))
    })
}

/// A thread could not be started.
#[derive(Debug)]
pub(super) struct StreamError(pub(super) io::Error);

impl From<StreamError> for super::LayerError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error.0)
    }
}

fn digest(receiver: &Receiver<Arc<Chunk>>) -> Digest {
    let mut hasher = Hasher::new();
    for chunk in receiver {
        hasher.update(&chunk.bytes[..chunk.length]);
    }
    hasher.finish()
}

/// Fills buffers until the stream ends, fails, or nobody consumes it any more.
fn decompress(
    mut decoder: Decoder,
    to_consumer: &SyncSender<io::Result<Arc<Chunk>>>,
    to_hasher: Option<&SyncSender<Arc<Chunk>>>,
) {
    let (pool, returned) = channel();
    loop {
        let mut bytes = returned.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let mut length = 0;
        let mut ended = false;
        while length < CHUNK && !ended {
            match decoder.read(&mut bytes[length..]) {
                Ok(0) => ended = true,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The consumer may be gone already, with an error of its own.
                    let _ = to_consumer.send(Err(error));
                    return;
                }
            }
        }
        if length > 0 {
            let chunk = Arc::new(Chunk { bytes, length, pool: pool.clone() });
            if let Some(to_hasher) = to_hasher
                && to_hasher.send(Arc::clone(&chunk)).is_err()
            {
                return;
            }
            if to_consumer.send(Ok(chunk)).is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}
