//! Programs of the host that the runtime executes for a container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use casemate_tests::Runtime;
use serde_json::json;

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[Attack {
    test: "hooks::a_hook_is_given_an_environment_and_a_directory",
    section: 'A',
    ids: "CVE-2025-23266, CVE-2024-0132",
    attempt: "The image's environment has `LD_PRELOAD`, `LD_LIBRARY_PATH`, `PATH` and `BASH_ENV` that lead into its root file system, and its working directory has a library and programs of the names \
        that hooks use; hooks of every kind run",
    defence: "A hook has the environment that the specification gives it, nothing else; its working directory is none of the container's",
    result: "the hooks see an empty environment, and run what the host has",
    red: "patch: a createContainer hook inherits `process.env`: the host's loader looked for the image's `LD_PRELOAD`",
}];

#[test]
fn a_hook_is_given_an_environment_and_a_directory() {
    let runtime = Runtime::new();
    let mark = runtime.scratch().join("mark");
    let hook = runtime.scratch().join("hook");
    let script = format!(
        "#!/bin/sh -p\n/usr/bin/env >> {0}/env-$1\nreadlink /proc/self/cwd >> {0}/cwd-$1\ncat > /dev/null\n",
        runtime.scratch().display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let evil = format!("#!/bin/sh\necho evil > {}\n", mark.display());
    for (kind, named) in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
        .into_iter()
        .flat_map(|kind| [(kind, true), (kind, false)])
    {
        for what in ["env", "cwd"] {
            let _ = fs::remove_file(runtime.scratch().join(format!("{what}-{kind}")));
        }
        let mut bundle = ways::bundle(&runtime).args(&["/bin/true"]);
        for name in ["env", "cat", "readlink", "evil.so", "sh"] {
            let path = bundle.rootfs().join("srv").join(name);
            fs::write(&path, &evil).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bundle.config["process"]["cwd"] = "/srv".into();
        bundle.config["process"]["env"] = json!([
            "LD_PRELOAD=./evil.so",
            "LD_LIBRARY_PATH=/srv",
            "PATH=/srv:.",
            "BASH_ENV=./sh",
            "ENV=./sh",
            "GCONV_PATH=.",
            "CUDA_ENABLE=1",
            "NVIDIA_VISIBLE_DEVICES=all"
        ]);
        bundle.config["hooks"] = json!({ kind: [{"path": hook, "args": ["hook", kind]}] });
        if named {
            bundle.config["hooks"][kind][0]["env"] = json!(["ONLY=this"]);
        }
        let output = bundle.run();
        assert_eq!(output.code, 0, "{kind}: {}", output.stderr);
        let read =
            |what: &str| fs::read_to_string(runtime.scratch().join(format!("{what}-{kind}"))).unwrap_or_default();
        let environment = read("env");
        // The shell that writes this adds these itself.
        let own = ["PWD=", "SHLVL=", "_=", "OLDPWD="];
        let given: Vec<&str> =
            environment.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).collect();
        let expected: &[&str] = if named { &["ONLY=this"] } else { &[] };
        assert_eq!(given, expected, "{kind}: the environment of the hook");
        let directory = read("cwd");
        assert!(
            !directory.contains("rootfs") && !directory.trim().ends_with("/srv"),
            "{kind}: the hook's directory is {directory}"
        );
        assert!(!mark.exists(), "{kind}: something of the image was executed by the hook");
    }
}
