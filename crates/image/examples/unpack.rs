//! Measures unpacking against decompression alone, alternating, in one process:
//! `cargo run --release -p casemate-image --example unpack -- LAYER.tar[.gz|.zst] DIRECTORY [ROUNDS]`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use casemate_image::{Limits, unpack_layer};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(layer), Some(scratch)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unpack LAYER DIRECTORY [ROUNDS]".into());
    };
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let mut alone = Vec::new();
    let mut whole = Vec::new();
    let mut bytes = 0;
    for round in 0..rounds {
        let start = Instant::now();
        bytes = decompress(&layer)?;
        alone.push(start.elapsed());
        let directory = Path::new(&scratch).join(format!("unpacked-{}-{round}", std::process::id()));
        std::fs::create_dir(&directory)?;
        let start = Instant::now();
        unpack_layer(File::open(&layer)?, &directory, Limits::default())?;
        whole.push(start.elapsed());
    }
    // Not between the rounds: ext4 searches long for a free inode while many were deleted a moment ago.
    for round in 0..rounds {
        std::fs::remove_dir_all(Path::new(&scratch).join(format!("unpacked-{}-{round}", std::process::id())))?;
    }
    // The best round says what the program can do, the median what a noisy machine lets it do.
    for (which, alone, whole) in [("best", best(&alone), best(&whole)), ("median", median(alone), median(whole))] {
        println!(
            "{which:6}  decompression alone {alone:?} ({:.0} MB/s), unpacking {whole:?} ({:.0} MB/s), ratio {:.2}",
            speed(bytes, alone),
            speed(bytes, whole),
            alone.as_secs_f64() / whole.as_secs_f64()
        );
    }
    Ok(())
}

fn decompress(layer: &str) -> Result<u64, Failure> {
    let file = BufReader::with_capacity(128 * 1024, File::open(layer)?);
    let mut reader: Box<dyn Read> = match Path::new(layer).extension().and_then(|end| end.to_str()) {
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

fn best(times: &[Duration]) -> Duration {
    times.iter().min().copied().unwrap_or_default()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[allow(clippy::cast_precision_loss, reason = "a figure for a person")]
fn speed(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}
