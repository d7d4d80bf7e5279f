//! gzip and zstd, recognised by their first bytes, bounded while they unpack.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::document::media;
use crate::limits::Limits;

const INPUT_BUFFER: usize = 128 * 1024;
/// The largest window (2^27 bytes = 128 MiB) that a zstd frame may ask us to keep in memory: what the format's own tools accept.
const MAX_WINDOW_LOG: u32 = 27;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "an uncompressed tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// What a layer's media type says, or `None` for one that is no layer.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            media::OCI_LAYER | media::DOCKER_LAYER => Some(Self::Plain),
            media::OCI_LAYER_GZIP | media::DOCKER_LAYER_GZIP => Some(Self::Gzip),
            media::OCI_LAYER_ZSTD | media::DOCKER_LAYER_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The media type of a layer that is compressed so.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Plain => media::OCI_LAYER,
            Self::Gzip => media::OCI_LAYER_GZIP,
            Self::Zstd => media::OCI_LAYER_ZSTD,
        }
    }

    /// Recognises a stream by its first bytes. What is not recognised is taken for a tar.
    ///
    /// # Errors
    /// Names a compression that is recognised but not supported.
    pub(crate) fn sniff(start: &[u8]) -> Result<Self, &'static str> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or a skippable frame before one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Err("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err("bzip2"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err("lz4"),
            _ => Ok(Self::Plain),
        }
    }
}

/// A stream being unpacked, and how much of it was read.
pub(crate) struct Decoder {
    stream: Box<dyn Read + Send>,
    compression: Compression,
    consumed: Arc<AtomicU64>,
    produced: u64,
    limits: Limits,
}

impl Decoder {
    /// Recognises the compression of `source` and begins to unpack it.
    ///
    /// # Errors
    /// When the source cannot be read, or is compressed in a way that is not supported.
    pub(crate) fn new(mut source: impl Read + Send + 'static, limits: Limits) -> io::Result<Self> {
        let mut start = Vec::new();
        source.by_ref().take(8).read_to_end(&mut start)?;
        let compression = Compression::sniff(&start).map_err(|name| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is compressed with {name}, which is not supported (use gzip, zstd or none)"),
            )
        })?;
        let consumed = Arc::new(AtomicU64::new(0));
        let source = Counted { source: io::Cursor::new(start).chain(source), count: Arc::clone(&consumed) };
        let stream: Box<dyn Read + Send> = match compression {
            Compression::Plain => Box::new(source),
            Compression::Gzip => {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(INPUT_BUFFER, source)))
            }
            Compression::Zstd => {
                let source = BufReader::with_capacity(INPUT_BUFFER, source);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Self { stream, compression, consumed, produced: 0, limits })
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    fn check(&self) -> io::Result<()> {
        let bomb = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        if self.produced > self.limits.bytes {
            return bomb(format!("it unpacks to more than {} bytes", self.limits.bytes));
        }
        let allowed = self.consumed.load(Ordering::Relaxed).saturating_mul(self.limits.ratio);
        if self.compression != Compression::Plain && self.produced > self.limits.ratio_from && self.produced > allowed {
            return bomb(format!("it is a decompression bomb: it grows more than {} times", self.limits.ratio));
        }
        Ok(())
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.produced += count as u64;
        self.check()?;
        Ok(count)
    }
}

struct Counted<R> {
    source: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(bytes: Vec<u8>, limits: Limits) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(io::Cursor::new(bytes), limits)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn each_compression_is_recognised_and_undone() {
        let text = b"casemate ".repeat(1000);
        let members = [gzip(&text), gzip(b"more")].concat();
        let frames = [zstd::encode_all(&text[..], 3).unwrap(), zstd::encode_all(&b"more"[..], 3).unwrap()].concat();
        let expected = [&text[..], b"more"].concat();
        assert_eq!(unpack(members, Limits::default()).unwrap(), expected);
        assert_eq!(unpack(frames, Limits::default()).unwrap(), expected);
        assert_eq!(unpack(expected.clone(), Limits::default()).unwrap(), expected);
        assert_eq!(unpack(Vec::new(), Limits::default()).unwrap(), b"");
    }

    #[test]
    fn truncated_and_foreign_streams_are_refused() {
        let text = b"casemate ".repeat(1000);
        let whole = gzip(&text);
        assert!(unpack(whole[..whole.len() - 9].to_vec(), Limits::default()).is_err());
        let whole = zstd::encode_all(&text[..], 3).unwrap();
        assert!(unpack(whole[..whole.len() - 1].to_vec(), Limits::default()).is_err());
        let xz = unpack(b"\xfd7zXZ\0\0\0".to_vec(), Limits::default()).unwrap_err();
        assert!(xz.to_string().contains("xz"), "{xz}");
    }

    #[test]
    fn bombs_are_stopped_by_ratio_and_by_size() {
        let zeros = vec![0; 4 << 20];
        let limits = Limits { ratio: 100, ratio_from: 1 << 20, ..Limits::default() };
        assert!(unpack(gzip(&zeros), limits).unwrap_err().to_string().contains("bomb"));
        let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
        assert!(unpack(zstd, limits).unwrap_err().to_string().contains("bomb"));
        let limits = Limits { bytes: 1 << 20, ..Limits::default() };
        assert!(unpack(zeros, limits).unwrap_err().to_string().contains("more than 1048576 bytes"));
    }
}
