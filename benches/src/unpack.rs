//! Importing a large layer beside decompressing the same bytes to nowhere with the same library.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::arguments::Request;
use crate::casemate::Casemate;
use crate::contest::{self, Contender};
use crate::error::{Result, io as doing};
use crate::report::{Goal, Report};
use crate::rootfs::Stage;

/// Where real files are taken from: programs, libraries, texts, as layers have them.
const SOURCES: [&str; 4] = ["/usr/lib", "/usr/bin", "/usr/share", "/usr/local"];

/// How often each is measured.
const ROUNDS: usize = 5;

/// Measures for gzip and zstd.
pub(crate) fn run(request: &Request, stage: &Stage, casemate: &Casemate, report: &mut Report) -> Result<()> {
    let plain = stage.directory.join("layer.tar");
    let (bytes, files) = make_layer(&plain, (request.layer_mib as u64) << 20)?;
    let gzip = stage.directory.join("layer.tar.gz");
    doing(compress_gzip(&plain, &gzip), || "compressing with gzip".to_owned())?;
    let zstd = stage.directory.join("layer.tar.zst");
    doing(compress_zstd(&plain, &zstd), || "compressing with zstd".to_owned())?;
    report.note(format!("layer: {} MiB in {files} files", bytes >> 20));
    for (table, path) in [("unpack gzip", &gzip), ("unpack zstd", &zstd)] {
        let import = casemate.command(&["import", &path.to_string_lossy(), "bench/layer"]);
        let remove = casemate.command(&["rmi", "--force", "bench/layer"]);
        let contenders = vec![
            Contender { name: "decompress", every: 1, act: Box::new(|_| decompress(path)) },
            Contender {
                name: "casemate",
                every: 1,
                act: Box::new(|_| {
                    let time = import.timed()?;
                    remove.output()?;
                    // What was written is on its way to the disk: it must not slow the next one down.
                    rustix::fs::sync();
                    Ok(time)
                }),
            },
        ];
        report.table(table, "a layer, unpacked, against decompression alone", contest::hold(contenders, ROUNDS));
        // At least 0.8 of the throughput is at most 1/0.8 of the time.
        report.goal(Goal::ratio(table, "casemate", "decompress", 1.0 / 0.8));
    }
    Ok(())
}

/// Decompresses to nowhere.
fn decompress(path: &Path) -> Result<Duration> {
    let started = Instant::now();
    let decompressed = || -> io::Result<u64> {
        let source = BufReader::with_capacity(256 << 10, File::open(path)?);
        let mut buffer = vec![0u8; 256 << 10];
        let mut decoder: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(GzDecoder::new(source))
        } else {
            Box::new(zstd::Decoder::with_buffer(source)?)
        };
        let mut total = 0;
        loop {
            match decoder.read(&mut buffer)? {
                0 => return Ok(total),
                count => total += count as u64,
            }
        }
    };
    doing(decompressed(), || format!("decompressing {}", path.display()))?;
    Ok(started.elapsed())
}

/// Makes an archive of about `most` bytes out of this machine's files.
fn make_layer(path: &Path, most: u64) -> Result<(u64, usize)> {
    let write = || -> io::Result<(u64, usize)> {
        let mut builder = tar::Builder::new(File::create(path)?);
        builder.follow_symlinks(false);
        let (mut bytes, mut files) = (0, 0);
        let mut queue: Vec<PathBuf> = SOURCES.iter().rev().map(PathBuf::from).collect();
        while let Some(at) = queue.pop() {
            let Ok(metadata) = std::fs::symlink_metadata(&at) else { continue };
            if bytes >= most {
                break;
            }
            let name = at.strip_prefix("/").unwrap_or(&at);
            if metadata.is_dir() {
                builder.append_dir(name, &at)?;
                let mut names: Vec<PathBuf> = std::fs::read_dir(&at)?.flatten().map(|entry| entry.path()).collect();
                names.sort_unstable_by(|a, b| b.cmp(a));
                queue.append(&mut names);
            } else if metadata.is_file() && metadata.len() < 16 << 20 {
                builder.append_path_with_name(&at, name)?;
                bytes += metadata.len();
                files += 1;
            }
        }
        builder.into_inner()?.sync_all()?;
        Ok((bytes, files))
    };
    doing(write(), || format!("writing {}", path.display()))
}

fn compress_gzip(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::new(6));
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}

fn compress_zstd(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(File::create(to)?, 3)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}
