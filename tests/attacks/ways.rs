//! The ways into a container: each attack is made through all that there are.

use std::cell::OnceCell;
use std::path::PathBuf;

use casemate_tests::{Bundle, Engine, Output, Runtime, archive, images};
use serde_json::{Value, json};

/// The program that attempts things, and where it is in the image and the bundles.
pub(crate) const ATTACKER: &str = "/bin/attacker";

/// Builds the program that attempts things.
pub(crate) fn attacker() -> PathBuf {
    images::compiled("attacker", include_str!("attacker.c")).expect("a C compiler builds the program of the attacks")
}

/// An archive of busybox with the attacker and whatever `add` adds.
pub(crate) fn image(add: impl FnOnce(&mut archive::Builder)) -> Vec<u8> {
    let mut builder = archive::continued(std::fs::read(images::busybox()).expect("the archive was made"));
    archive::file(&mut builder, "bin/attacker", 0o755, &std::fs::read(attacker()).expect("it was built"));
    add(&mut builder);
    archive::finish(builder)
}

/// An engine whose image `busybox` has the attacker.
#[track_caller]
pub(crate) fn engine() -> Engine {
    engine_with(|_| ())
}

/// An engine whose image `busybox` has the attacker and whatever `add` adds.
#[track_caller]
pub(crate) fn engine_with(add: impl FnOnce(&mut archive::Builder)) -> Engine {
    let engine = Engine::empty();
    engine.run_with_input(&["import", "-", "busybox"], image(add)).ok();
    engine
}

/// A bundle that has the attacker.
#[track_caller]
pub(crate) fn bundle(runtime: &Runtime) -> Bundle<'_> {
    let bundle = runtime.bundle();
    std::fs::copy(attacker(), bundle.rootfs().join("bin/attacker")).expect("the bundle can be written to");
    bundle
}

/// A kind of container, and one of the kind that runs.
pub(crate) trait Way {
    /// For messages.
    fn name(&self) -> &str;
    /// Runs a program as the first process of a new container.
    fn first(&self, program: &[&str]) -> Output;
    /// Runs a program in a container that sleeps, the same for each call.
    fn second(&self, program: &[&str]) -> Output;
    /// A shell command in the container that sleeps.
    fn sh(&self, script: &str) -> Output {
        self.second(&["/bin/sh", "-c", script])
    }
}

/// What makes of a bundle another kind.
pub(crate) type Change = fn(Bundle<'_>) -> Bundle<'_>;

struct Run {
    name: String,
    engine: Engine,
    flags: Vec<&'static str>,
    sleeping: OnceCell<()>,
}

impl Run {
    fn start(&self) {
        self.sleeping.get_or_init(|| {
            let _ = self.engine.sleeper("sleeping", &self.flags);
        });
    }
}

impl Way for Run {
    fn name(&self) -> &str {
        &self.name
    }

    #[track_caller]
    fn first(&self, program: &[&str]) -> Output {
        let words: Vec<&str> =
            ["run", "--rm"].iter().chain(&self.flags).chain(&["busybox"]).chain(program).copied().collect();
        self.engine.run(&words)
    }

    #[track_caller]
    fn second(&self, program: &[&str]) -> Output {
        self.start();
        let words: Vec<&str> = ["exec", "sleeping"].iter().chain(program).copied().collect();
        self.engine.run(&words)
    }
}

struct Oci<'a> {
    name: &'static str,
    runtime: &'a Runtime,
    change: Change,
    sleeping: OnceCell<Bundle<'a>>,
}

impl Oci<'_> {
    fn start(&self) -> &Bundle<'_> {
        self.sleeping.get_or_init(|| {
            let bundle = (self.change)(bundle(self.runtime)).sleeping();
            bundle.launch();
            bundle
        })
    }
}

impl Way for Oci<'_> {
    fn name(&self) -> &str {
        self.name
    }

    #[track_caller]
    fn first(&self, program: &[&str]) -> Output {
        (self.change)(bundle(self.runtime)).args(program).run()
    }

    #[track_caller]
    fn second(&self, program: &[&str]) -> Output {
        self.start().exec(&[], program)
    }
}

/// `casemate run` with these flags.
pub(crate) fn run(flags: &[&'static str]) -> Box<dyn Way> {
    let name = format!("casemate run {}", flags.join(" "));
    Box::new(Run { name, engine: engine(), flags: flags.to_vec(), sleeping: OnceCell::new() })
}

/// `casemate oci` with a bundle that `change` changed.
pub(crate) fn oci<'a>(runtime: &'a Runtime, name: &'static str, change: Change) -> Box<dyn Way + 'a> {
    Box::new(Oci { name, runtime, change, sleeping: OnceCell::new() })
}

/// The container that nobody asked anything for, the one that Docker asks for, and that one in a user namespace.
pub(crate) fn each(test: impl Fn(&dyn Way)) {
    test(run(&[]).as_ref());
    each_oci(test);
}

/// A bundle in a user namespace.
pub(crate) fn in_user_namespace(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle.user_namespace()
}

/// The containers of [`each`] that an engine asks for.
pub(crate) fn each_oci(test: impl Fn(&dyn Way)) {
    let runtime = Runtime::new();
    test(oci(&runtime, "casemate oci as Docker", |bundle| bundle).as_ref());
    test(oci(&runtime, "casemate oci with a user namespace", in_user_namespace).as_ref());
}

/// Lines of output that begin with `word`, without it.
pub(crate) fn told<'o>(output: &'o str, word: &str) -> Vec<&'o str> {
    output.lines().filter_map(|line| line.trim_end().strip_prefix(word)).map(str::trim).collect()
}

/// A directory of the host with a secret that everybody on the host may read and write: who can't has no way to it.
pub(crate) struct Outside {
    directory: tempfile::TempDir,
}

impl Outside {
    pub(crate) fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::Builder::new().prefix("outside").tempdir_in("/tmp").expect("/tmp can be written to");
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        };
        open(directory.path(), 0o777);
        let secret = directory.path().join("secret");
        std::fs::write(&secret, SECRET).expect("the directory can be written to");
        open(&secret, 0o666);
        Self { directory }
    }

    /// The directory's path on the host.
    pub(crate) fn path(&self) -> &str {
        self.directory.path().to_str().expect("a path of ours")
    }

    /// A relative path that climbs to it from any directory of the host.
    pub(crate) fn climbing(&self) -> String {
        format!("../../../../../../../../../..{}", self.path())
    }

    /// Asserts that nobody was here.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, what: &str) {
        let entries: Vec<_> = std::fs::read_dir(self.directory.path())
            .expect("it is there")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(entries, ["secret"], "{what}: something was made on the host");
        let secret = std::fs::read_to_string(self.directory.path().join("secret")).expect("it is there");
        assert_eq!(secret, SECRET, "{what}: a file of the host was written to");
    }
}

/// What is in the secret file.
pub(crate) const SECRET: &str = "a secret of the host\n";

/// Asserts that the output tells nothing of the secret.
#[track_caller]
pub(crate) fn assert_kept(output: &Output, what: &str) {
    let said = format!("{}{}", output.stdout(), output.stderr);
    assert!(!said.contains(SECRET.trim_end()), "{what}: the host's secret is told:\n{said}");
}

/// Has a command inherit every descriptor from 3 to 999, each of them a directory of the host.
pub(crate) fn leaking(command: &std::process::Command, directory: &str) -> std::process::Command {
    let script = format!("for n in $(seq 3 999); do eval \"exec $n<'{directory}'\"; done; exec \"$@\"");
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}

/// What `casemate run` gives by default, as far as a specification can say it.
pub(crate) fn hardened(bundle: Bundle<'_>) -> Bundle<'_> {
    bundle.user_namespace().capabilities(&[]).edit(|config| {
        config["root"]["readonly"] = true.into();
        config["linux"]["seccomp"] = filter();
        // runc knows no parameters of user namespaces.
        if std::env::var_os("CASEMATE_OCI_RUNTIME").is_none() {
            config["linux"]["sysctl"] = json!({"user.max_user_namespaces": "0"});
        }
        config["linux"]["resources"]["pids"] = json!({"limit": 512});
        config["linux"]["resources"]["memory"] = json!({"limit": 536_870_912, "swap": 536_870_912});
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "noexec", "size=256m", "nr_inodes=65536", "mode=1777"]});
        config["mounts"].as_array_mut().expect("mounts").push(tmp);
    })
}

/// The default filter as it is published, without what it has for capabilities.
fn filter() -> Value {
    let text = include_str!("../../docs/seccomp-default.json");
    let mut profile: Value = serde_json::from_str(text).expect("the published filter is JSON");
    let rules = profile["syscalls"].as_array_mut().expect("rules");
    rules.retain(|rule| rule["includes"]["caps"].is_null());
    for rule in rules {
        let rule = rule.as_object_mut().expect("a rule");
        rule.remove("includes");
        rule.remove("excludes");
    }
    let architecture = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    profile["architectures"] = json!([architecture]);
    profile
}

/// Both ways to a container with everything that this engine has against attacks: by default, and asked for in a bundle.
pub(crate) fn each_hardened(test: impl Fn(&dyn Way)) {
    test(run(&[]).as_ref());
    let runtime = Runtime::new();
    test(oci(&runtime, "casemate oci, hardened", hardened).as_ref());
}
