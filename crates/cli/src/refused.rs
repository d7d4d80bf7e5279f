//! What people who know Docker will type and casemate doesn't have: not in any help, and answered with what to do instead.

/// For a command of Docker's: why it isn't here and what is.
///
/// A word that becomes a command of ours is found before this is asked; its line then goes.
pub(crate) fn command(word: &str) -> Option<&'static str> {
    // `container cp` is `cp`; `image` has words of its own.
    let word = word.strip_prefix("container ").unwrap_or(word);
    Some(match word {
        "pull" | "push" | "login" | "logout" | "search" | "image pull" | "image push" | "manifest" => {
            "there is no registry client here; bring images with 'casemate load' (docker save, skopeo, OCI archives) or 'casemate import'"
        }
        "build" | "buildx" | "image build" | "builder" => {
            "images are not built here; build elsewhere and bring the result with 'casemate load' or 'casemate import'"
        }
        "compose" | "stack" | "swarm" | "service" | "node" | "secret" | "config" => {
            "casemate runs single containers: start each with 'casemate run'"
        }
        "network" | "port" => {
            "containers have no network but their own loopback; '--network container:NAME' shares one container's with another"
        }
        "volume" => "volumes are made when a container names them: 'casemate run -v NAME:PATH'",
        "commit" | "diff" | "export" => {
            "a container's root is read-only by default; keep what it writes in a volume, and make images with 'casemate import --change'"
        }
        "save" | "image save" => {
            "images lie in an OCI layout ('images' in the data directory), which skopeo and umoci read"
        }
        "history" | "image history" => "see 'casemate inspect --format {{json .History}} IMAGE'",
        "cp" => "use 'casemate exec NAME cat FILE', 'casemate exec -i NAME tee FILE', or mount a directory with -v",
        "top" => "use 'casemate exec NAME ps', or on the host the processes below {{.State.Pid}} of 'casemate inspect'",
        "stats" => "the kernel counts in the control group that 'casemate inspect --format {{.CgroupPath}} NAME' names",
        "events" | "system events" => "ask 'casemate ps -a', 'casemate wait' and 'casemate logs -f'",
        "pause" | "unpause" => "use 'casemate stop' and 'casemate start'",
        "rename" => "a container is named when it is made: 'casemate run --name NAME'",
        "update" => "limits are given when a container is made: see Resources in 'casemate run --help'",
        "restart" => "use 'casemate stop NAME' and 'casemate start NAME'",
        "prune" => "use 'casemate ps -aq --filter status=exited' and 'casemate rm'",
        "image prune" => "use 'casemate images -q --filter dangling=true' and 'casemate rmi'",
        "system prune" => {
            "use 'casemate rm' and 'casemate rmi'; 'casemate system check' removes what killed commands left"
        }
        "system df" => "'casemate images' has the sizes",
        "daemon" | "dockerd" => "there is no daemon: every command does its own work",
        "context" | "plugin" | "trust" => {
            "casemate works on this machine, alone: there is no daemon to connect to or to extend"
        }
        _ => return None,
    })
}

/// For a flag of Docker's on one of our commands ("" for the flags before the command): what to write instead.
pub(crate) fn flag(command: &str, flag: &str) -> Option<&'static str> {
    match command {
        "" => global_flag(flag),
        "run" | "create" => creation_flag(flag),
        "exec" => match flag {
            "--privileged" => Some(
                "a process never gets more rights than its container; give the container what it needs with --cap-add or --device when it is made",
            ),
            _ => None,
        },
        "ps" => match flag {
            "-s" | "--size" => Some(
                "the root file system is read-only by default, and sizes would have to be counted file by file; 'casemate inspect' names the directory",
            ),
            _ => None,
        },
        "inspect" => match flag {
            "-s" | "--size" => Some(
                "sizes would have to be counted file by file; 'inspect' names the container's writable directory, and 'images' has the image's size",
            ),
            _ => None,
        },
        "start" => match flag {
            "--checkpoint" | "--checkpoint-dir" => {
                Some("checkpoints are not supported; containers start from their image")
            }
            _ => None,
        },
        "import" if matches!(flag, "-m" | "--message") => Some("write --change 'LABEL description=\"...\"'"),
        "rmi" if flag == "--no-prune" => Some("images have no hidden parents here; only what nothing uses goes"),
        "load" | "import" | "images" | "rmi" => match flag {
            "--platform" | "--tree" => {
                Some("one platform per image: the host's is taken from a multi-platform archive")
            }
            "--digests" => Some("write --format 'table {{.Repository}}\\t{{.Tag}}\\t{{.Digest}}\\t{{.ID}}'"),
            _ => None,
        },
        "rm" => match flag {
            "-l" | "--link" => Some("there are no links between containers here"),
            _ => None,
        },
        _ => None,
    }
}

fn global_flag(flag: &str) -> Option<&'static str> {
    Some(match flag {
        "-H" | "--host" | "-c" | "--context" | "--tls" | "--tlsverify" | "--tlscacert" | "--tlscert" | "--tlskey" => {
            "there is no daemon to connect to: casemate works on this machine"
        }
        "--root" | "--graph" | "-g" => "the directory of the state is --data-root DIR (or CASEMATE_ROOT)",
        "-D" | "--debug" | "-l" | "--log-level" => "errors already say everything that is known",
        "--config" => "there is no client configuration; the policy is /etc/casemate/policy.toml",
        _ => return None,
    })
}

fn creation_flag(flag: &str) -> Option<&'static str> {
    Some(match flag {
        "-p" | "--publish" | "-P" | "--publish-all" | "--expose" | "--ip" | "--ip6" | "--mac-address" | "--link"
        | "--link-local-ip" | "--network-alias" | "--net-alias" => {
            "containers have no network but their own loopback; '--network host --allow host-network' shares the host's, '--network container:NAME' another container's"
        }
        "--restart" => {
            "nothing restarts a container by itself; run it from a service manager without -d, which passes signals and exit codes on"
        }
        "--health-cmd"
        | "--health-interval"
        | "--health-retries"
        | "--health-timeout"
        | "--health-start-period"
        | "--health-start-interval"
        | "--no-healthcheck" => {
            "health checks are not run; call 'casemate exec NAME COMMAND' from what watches the service"
        }
        "--volumes-from" => "name the volumes: -v NAME:PATH, or --mount type=volume,source=NAME,target=PATH",
        "--volume-driver" => {
            "volumes are directories on this machine; mount what another driver offers with -v HOST:PATH"
        }
        "--gpus" => "name the device files: --device /dev/nvidia0",
        "--platform" => "images run on the host's own architecture only",
        "--isolation" | "--runtime" => {
            "containers are isolated by namespaces with casemate's own runtime; there is no other"
        }
        "--disable-content-trust" => "images come from archives on this machine; nothing is fetched",
        "--kernel-memory" => "the kernel dropped this limit; --memory covers what the kernel uses for the container",
        "--cpu-count" | "--cpu-percent" | "--io-maxbandwidth" | "--io-maxiops" => {
            "this is for Windows; see --cpus and --device-read-bps"
        }
        "--blkio-weight-device" => "the weight is for all devices: --blkio-weight; see --device-read-bps for one",
        "-q" | "--quiet" => "nothing is fetched, so there is no progress to hide",
        "--use-api-socket" => "an engine's socket in a container is root on the host for whoever finds it",
        "--cpu-rt-period" | "--cpu-rt-runtime" => {
            "real-time scheduling is not given to containers; see --cpus and --cpu-shares"
        }
        "--attach" | "-a" => {
            "without -d, output is attached, and input with -i; pipe what you do not want to see to /dev/null"
        }
        "--dns-opt" | "--dns-option" | "--dns-search" => "only the servers can be set: --dns ADDRESS",
        "--label-file" => "give each label with -l KEY=VALUE",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_flags_have_an_answer() {
        assert!(flag("run", "-p").is_some_and(|words| words.contains("--allow host-network")));
        assert!(flag("exec", "--privileged").is_some());
        assert!(flag("ps", "--size").is_some());
        assert!(flag("run", "--nonsense").is_none());
        assert!(command("compose").is_some());
        assert_eq!(command("container cp"), command("cp"));
        assert!(flag("", "-H").is_some());
    }
}
