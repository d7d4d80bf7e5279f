//! Bringing a container to life by way of the runtime: called in the supervisor, and the only place that knows both.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use casemate_kernel::mount::Attributes;
use casemate_kernel::overlay::{Overlay, Upper};
use casemate_posture::{IpcMode, NamespaceMode, NetworkMode};
use casemate_runtime::{CreateRequest, Created, Stdio};

use crate::bundle::{self, Joined, Materials};
use crate::directories::Directories;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::idmapped;
use crate::record::{self, Live, Record, STATE_FILE};
use crate::sources;

/// What a launch needs beside the record; nothing of it is a descriptor.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) directories: &'a Directories,
    pub(crate) record: &'a Record,
    /// The layers of the root file system, topmost first.
    pub(crate) layers: &'a [PathBuf],
    /// The program for `--init`.
    pub(crate) init: Option<&'a Path>,
}

/// A container whose first process stands at the start barrier, and our ends of its streams.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) created: Created,
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
}

/// Makes the container.
pub(crate) fn create(plan: &Plan<'_>) -> Result<Launched> {
    let record = plan.record;
    let id = &record.identity.id;
    let run = plan.directories.run_of(id);
    let mut opened = sources::open(plan.directories, record)?;
    sources::write_files(plan.directories, &run, record, &mut opened.sources)?;
    opened.sources.shm = shared_memory(plan.directories, record)?;
    opened.sources.init = plan.init.map(Path::to_path_buf);
    let (joined, _held) = join(plan.directories, record)?;
    let spec = bundle::specification(&Materials {
        record,
        user: &record.user,
        joined: &joined,
        sources: &opened.sources,
        kernel: casemate_kernel::process::kernel_version(),
    })?;
    let streams = Streams::new(record)?;
    let upper = upper_directories(plan.directories, record);
    let mut attributes = Attributes::NO_DEV;
    if record.posture.no_new_privileges {
        attributes |= Attributes::NO_SUID;
    }
    let idmapped = idmapped::layers_of(record);
    let volatile = record.identity.auto_remove;
    let layers = plan.layers;
    let root = move |namespace: Option<std::os::fd::BorrowedFd<'_>>| {
        let overlay = Overlay {
            layers,
            upper: upper.as_ref().map(|(directory, work)| Upper { directory, work, volatile }),
            idmap: namespace.filter(|_| idmapped),
            attributes,
        };
        overlay.mount().map_err(Into::into)
    };
    let created = casemate_runtime::create(CreateRequest {
        id: id.as_str(),
        spec: &spec,
        root: Box::new(root),
        stdio: streams.theirs,
    })
    .map_err(|error| from_runtime(&error))?;
    // The supervisor's ends must not block it.
    for end in [&streams.input, &streams.output, &streams.error, &created.console].into_iter().flatten() {
        crate::session::set_nonblocking(end)?;
    }
    Ok(Launched { created, input: streams.input, output: streams.output, error: streams.error })
}

/// The runtime's error in the engine's terms.
pub(crate) fn from_runtime(error: &casemate_runtime::Error) -> Error {
    let kind = match error.kind() {
        casemate_runtime::Kind::NotFound => ErrorKind::CommandNotFound,
        casemate_runtime::Kind::NotExecutable => ErrorKind::CommandNotExecutable,
        casemate_runtime::Kind::Invalid => ErrorKind::Invalid,
        casemate_runtime::Kind::NoSuchContainer
        | casemate_runtime::Kind::WrongStatus
        | casemate_runtime::Kind::Hook
        | casemate_runtime::Kind::Failed => ErrorKind::Internal,
    };
    Error::Launch { kind, text: error.to_string() }
}

/// Both ends of a process's standard streams.
pub(crate) struct Streams {
    pub(crate) theirs: Stdio,
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
}

impl Streams {
    fn new(record: &Record) -> Result<Self> {
        if record.process.tty {
            return Ok(Self::terminal(record.process.terminal_size));
        }
        Self::pipes(record.process.open_stdin)
    }

    pub(crate) fn terminal(size: Option<(u16, u16)>) -> Self {
        let (columns, rows) = size.unwrap_or((80, 24));
        Self { theirs: Stdio::Terminal { columns, rows }, input: None, output: None, error: None }
    }

    pub(crate) fn pipes(with_input: bool) -> Result<Self> {
        let pipe = || casemate_kernel::terminal::pipe().map_err(|error| Error::kernel("make a pipe")(error.into()));
        let (stdin, input) = if with_input {
            let (theirs, ours) = pipe()?;
            (Some(theirs), Some(ours))
        } else {
            (None, None)
        };
        let (output, stdout) = pipe()?;
        let (error, stderr) = pipe()?;
        Ok(Self { theirs: Stdio::Pipes { stdin, stdout, stderr }, input, output: Some(output), error: Some(error) })
    }
}

fn upper_directories(directories: &Directories, record: &Record) -> Option<(PathBuf, PathBuf)> {
    let directory = directories.container(&record.identity.id);
    record.upper.then(|| (directory.join("upper"), directory.join("work")))
}

/// The directory that is `/dev/shm` where it is shared; others have a file system of their own.
fn shared_memory(directories: &Directories, record: &Record) -> Result<Option<PathBuf>> {
    use std::os::unix::fs::PermissionsExt as _;
    match &record.posture.namespaces.ipc {
        IpcMode::Shareable => {
            let path = sources::shared_memory_directory(directories, &record.identity.id);
            crate::directories::make_private(&path)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777))
                .map_err(Error::file("set the mode of", &path))?;
            Ok(Some(path))
        }
        IpcMode::Container(id) => {
            let Some(id) = ContainerId::parse(id) else { return Ok(None) };
            Ok(Some(sources::shared_memory_directory(directories, &id)).filter(|path| path.is_dir()))
        }
        _ => Ok(None),
    }
}

/// Opens the namespaces of other containers that this one joins, by descriptors that can't come to mean other processes'.
fn join(directories: &Directories, record: &Record) -> Result<(Joined, Vec<File>)> {
    let modes = &record.posture.namespaces;
    let mut joined = Joined::default();
    let mut held = Vec::new();
    let mut open = |id: &str, namespace: &str| -> Result<Option<PathBuf>> {
        let live = running(directories, id)?;
        let path = PathBuf::from(format!("/proc/{}/ns/{namespace}", live.pid));
        let file = File::open(&path).map_err(Error::file("open the namespace", &path))?;
        // The process is still the one that was meant, so it was when its namespace was opened.
        if live.open_process().is_none() {
            return Err(not_running(id));
        }
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        held.push(file);
        Ok(Some(path))
    };
    let container = |mode: &NamespaceMode| match mode {
        NamespaceMode::Container(id) => Some(id.clone()),
        _ => None,
    };
    if let Some(id) = &record.joined {
        joined.user = open(id.as_str(), "user")?;
    }
    if let Some(id) = container(&modes.pid) {
        joined.pid = open(&id, "pid")?;
    }
    if let Some(id) = container(&modes.uts) {
        joined.uts = open(&id, "uts")?;
    }
    if let Some(id) = container(&modes.cgroup) {
        joined.cgroup = open(&id, "cgroup")?;
    }
    if let IpcMode::Container(id) = &modes.ipc {
        joined.ipc = open(id, "ipc")?;
    }
    if let NetworkMode::Container(id) = &modes.network {
        joined.network = open(id, "net")?;
    }
    Ok((joined, held))
}

fn running(directories: &Directories, id: &str) -> Result<Live> {
    let parsed = ContainerId::parse(id).ok_or_else(|| not_running(id))?;
    record::read(&directories.run_of(&parsed).join(STATE_FILE))?.ok_or_else(|| not_running(id))
}

fn not_running(id: &str) -> Error {
    Error::State {
        doing: "join",
        name: id.get(..12).unwrap_or(id).to_owned(),
        why: "it does not run; start it first".to_owned(),
    }
}
