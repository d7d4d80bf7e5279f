//! Whether files of the host can be shown with a container's ids: it takes the kernel and each file system to do it.

use std::path::Path;

use casemate_kernel::idmap;
use casemate_posture::{HostFacts, MountKind, Posture, Shortfall};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::record::Record;

/// The shortfall of a container whose layers are not mapped.
const LAYERS: &str = "idmapped-layers";

/// File systems that are known to do it, by `statfs(2)`'s magic number, and since which kernel. The others are tried.
const KNOWN: [(u64, (u32, u32)); 4] =
    [(0xef53, (5, 12)), (0x5846_5342, (5, 12)), (0x9123_683e, (5, 15)), (0x0102_1994, (6, 3))];

/// Fits a posture to the file systems that its files come from: the layers and volumes below `data`, and its bind mounts.
///
/// Files that can't be mapped keep the host's ids, which inside are nobody's: they are read where everybody may.
pub(crate) fn fit(posture: &mut Posture, facts: &HostFacts, data: &Path) -> Result<Vec<Shortfall>> {
    let mut shortfalls = Vec::new();
    if posture.namespaces.user.is_host() {
        return Ok(shortfalls);
    }
    let of_data = is_supported(data, facts.kernel)?;
    if facts.idmapped_layers && !of_data {
        shortfalls.push(Shortfall {
            name: LAYERS.to_owned(),
            words: format!(
                "the image's files do not belong to the container's ids: the file system of {} can't map them on Linux {}.{}",
                data.display(),
                facts.kernel.0,
                facts.kernel.1
            ),
        });
    }
    for mount in posture.mounts.iter_mut().filter(|mount| mount.idmap) {
        let supported = match &mount.kind {
            MountKind::Bind { source } => is_supported(Path::new(source), facts.kernel)?,
            MountKind::Volume { .. } => of_data,
        };
        if !supported {
            mount.idmap = false;
            shortfalls.push(Shortfall {
                name: "idmapped-mounts".to_owned(),
                words: format!(
                    "files below {} keep the host's ids, which are nobody's inside: their file system can't map them on Linux {}.{}",
                    mount.target, facts.kernel.0, facts.kernel.1
                ),
            });
        }
    }
    Ok(shortfalls)
}

/// Whether the container's layers are to be mapped: it has ids of its own, and nothing was found against it.
pub(crate) fn layers_of(record: &Record) -> bool {
    record.id_range.is_some() && !record.shortfalls.iter().any(|shortfall| shortfall.name == LAYERS)
}

fn is_supported(path: &Path, kernel: (u32, u32)) -> Result<bool> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::errno("open", path, errno))?;
    let magic =
        rustix::fs::fstatfs(&opened).map_err(|errno| Error::errno("look at the file system of", path, errno))?;
    if let Some((_, since)) =
        KNOWN.iter().find(|(known, _)| u64::try_from(magic.f_type).is_ok_and(|kind| kind == *known))
    {
        return Ok(kernel >= *since);
    }
    idmap::is_supported(&opened).map_err(|error| Error::kernel("try to map the ids of a file system")(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_learnt_it_later_is_told_and_not_mapped() {
        // /dev/shm is a tmpfs on every Linux; where it is none, there is nothing to test.
        let shm = Path::new("/dev/shm");
        if rustix::fs::statfs(shm).is_ok_and(|stat| stat.f_type == 0x0102_1994) {
            assert!(!is_supported(shm, (6, 1)).unwrap());
            assert!(is_supported(shm, (6, 3)).unwrap());
        } else {
            eprintln!("SKIP: /dev/shm is no tmpfs");
        }
    }

    #[test]
    fn what_is_not_mapped_is_said_once_for_each_mount() {
        if rustix::fs::statfs("/dev/shm").is_ok_and(|stat| stat.f_type != 0x0102_1994) {
            eprintln!("SKIP: /dev/shm is no tmpfs");
            return;
        }
        let mut posture = Posture::hardened();
        posture.mounts.push(casemate_posture::Mount::bind("/dev/shm", "/data"));
        let facts = crate::host::Host::detect(&posture).unwrap().facts;
        let old = HostFacts { kernel: (6, 1), idmapped_layers: true, ..facts };
        let shortfalls = fit(&mut posture, &old, Path::new("/dev/shm")).unwrap();
        let names: Vec<&str> = shortfalls.iter().map(|shortfall| shortfall.name.as_str()).collect();
        assert_eq!(names, [LAYERS, "idmapped-mounts"]);
        assert!(!posture.mounts[0].idmap);
        assert_eq!(fit(&mut posture, &HostFacts { idmapped_layers: false, ..old }, Path::new("/dev/shm")).unwrap(), []);
    }
}
