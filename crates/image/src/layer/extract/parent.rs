//! Finds the directory that an entry goes into.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{readlinkat, unlinkat};

use super::{
    AtFlags, DIRECTORY, Errno, Extractor, Fault, FileType, Mode, OFlags, STRICT, chmodat, is_whiteout, kernel, mkdirat,
    openat, openat2, set_opaque_on, set_ownership, statat,
};

/// As the kernel bounds them.
const MAX_LINKS: usize = 40;
const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A component that is still to be walked, and whether a symbolic link's target brought it.
struct Step {
    name: Vec<u8>,
    from_link: bool,
}

impl Extractor {
    /// The directory at `path`, made if need be, as Docker does: owned by root, mode 0755.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<OwnedFd, Fault> {
        if let Some((cached, directory)) = self.cached.take()
            && cached == path
        {
            return Ok(directory);
        }
        if path.is_empty() {
            return self.root.try_clone().map_err(|_| Fault::Kernel("duplicate a descriptor", Errno::MFILE));
        }
        match openat2(&self.root, path, WALK, Mode::empty(), STRICT) {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => {
                let directory = self.walk(path, true)?;
                directory.ok_or_else(|| Fault::Refused("its directory is not in this layer".to_owned()))
            }
            Err(errno) => Err(Fault::Kernel("open its directory", errno)),
        }
    }

    /// The directory at `path`, if the layer has it.
    pub(super) fn existing(&self, path: &[u8]) -> Result<Option<OwnedFd>, Fault> {
        let path = if path.is_empty() { b"." } else { path };
        match openat2(&self.root, path, WALK, Mode::empty(), STRICT) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => self.walk(path, false),
            Err(errno) => Err(Fault::Kernel("open the hard link's directory", errno)),
        }
    }

    /// Walks component by component. Symbolic links are followed within the layer only; one that climbs out of it, or leads to
    /// what the layer does not have, is refused.
    fn walk(&self, path: &[u8], make: bool) -> Result<Option<OwnedFd>, Fault> {
        let mut steps: VecDeque<Step> = steps(path, false).collect();
        let mut canonical: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        let mut current = self.reopen(&canonical)?;
        while let Some(step) = steps.pop_front() {
            if step.name == b".." {
                if canonical.pop().is_none() {
                    return Err(leads_out(path));
                }
                current = self.reopen(&canonical)?;
                continue;
            }
            let found = match statat(&current, step.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) => found,
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) if step.from_link => return Err(leads_out(path)),
                Err(Errno::NOENT) => {
                    make_implied(&current, &step.name)?;
                    current = enter(&current, &step.name)?;
                    canonical.push(step.name);
                    continue;
                }
                Err(errno) => return Err(Fault::Kernel("look at its directory", errno)),
            };
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => {}
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Fault::Refused("its directory is behind too many symbolic links".to_owned()));
                    }
                    let target = readlinkat(&current, step.name.as_slice(), Vec::new())
                        .map_err(kernel("read a symbolic link"))?;
                    let target = target.to_bytes();
                    if target.starts_with(b"/") {
                        canonical.clear();
                        current = self.reopen(&canonical)?;
                    }
                    let mut extended: VecDeque<Step> = self::steps(target, true).collect();
                    extended.append(&mut steps);
                    steps = extended;
                    continue;
                }
                _ if make && !step.from_link && is_whiteout(&found) => {
                    // The layer removes what was there and puts a directory of its own in its place.
                    unlinkat(&current, step.name.as_slice(), AtFlags::empty()).map_err(kernel("remove a whiteout"))?;
                    make_implied(&current, &step.name)?;
                    let made = openat(&current, step.name.as_slice(), DIRECTORY, Mode::empty())
                        .map_err(kernel("open its directory"))?;
                    set_opaque_on(&made)?;
                }
                _ if !make => return Ok(None),
                _ => {
                    return Err(Fault::Refused(format!(
                        "{:?} in its path is not a directory",
                        crate::tar::escaped(&step.name)
                    )));
                }
            }
            current = enter(&current, &step.name)?;
            canonical.push(step.name);
        }
        Ok(Some(current))
    }

    /// Opens a path that was walked already, once more through no symbolic link.
    fn reopen(&self, canonical: &[Vec<u8>]) -> Result<OwnedFd, Fault> {
        let path = if canonical.is_empty() { b".".to_vec() } else { canonical.join(&b'/') };
        openat2(&self.root, path, WALK, Mode::empty(), STRICT).map_err(kernel("open its directory"))
    }
}

fn steps(path: &[u8], from_link: bool) -> impl Iterator<Item = Step> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
        .map(move |part| Step { name: part.to_vec(), from_link })
}

fn leads_out(path: &[u8]) -> Fault {
    Fault::Refused(format!(
        "its directory {:?} leads through a symbolic link out of this layer",
        crate::tar::escaped(path)
    ))
}

fn make_implied(parent: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    let mode = Mode::from_raw_mode(0o755);
    mkdirat(parent, name, mode).map_err(kernel("make its directory"))?;
    set_ownership(parent, name, 0, 0)?;
    chmodat(parent, name, mode, AtFlags::empty()).map_err(kernel("set the mode of its directory"))
}

fn enter(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Fault> {
    openat(parent, name, WALK, Mode::empty()).map_err(kernel("open its directory"))
}
