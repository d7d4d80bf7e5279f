//! The operator's terminal, reached from inside.

use casemate_tests::console::Console;
use casemate_tests::terminal::Terminal;
use casemate_tests::{Engine, Runtime, command};

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "terminal::keys_are_typed_into_the_operators_terminal",
        section: 'D',
        ids: "CVE-2017-5226, CVE-2016-2568, CVE-2023-28339 (TIOCSTI, TIOCLINUX)",
        attempt: "The operator types `casemate run` and `exec`, with `-t`, `-it`, `-i` and without; the program puts characters into every terminal that it can find or open",
        defence: "A session and a terminal of its own; without `-t` pipes; the filter refuses TIOCSTI and TIOCLINUX, also with high bits set",
        result: "EPERM; the operator's shell reads nothing that the operator did not type",
        red: "patch: `new_session` that does nothing: the operator's `/dev/tty` was found and opened",
    },
    Attack {
        test: "terminal::keys_are_typed_into_a_terminal_of_the_runtime",
        section: 'D',
        ids: "CVE-2017-5226",
        attempt: "The same by `oci run` and `oci exec` from a terminal, and with a terminal that is sent to an engine",
        defence: "A new session; the filter of the bundle",
        result: "the operator's shell reads nothing that the operator did not type",
        red: "the same patch: the operator's terminal was found",
    },
    Attack {
        test: "terminal::what_an_image_says_is_printed",
        section: 'D',
        ids: "terminal escapes in labels, names and errors",
        attempt: "Labels, commands, variables, users, tags, entry points and paths of an archive hold escape sequences, and come up in lists, `inspect`, errors of `load`, `import` and `run`",
        defence: "Everything that is printed and comes from outside is escaped",
        result: "no control character is written to the terminal, but for the end of a line",
        red: "patch: an escape that escapes nothing: `ps` sent the sequence",
    },
];

/// Runs a command as an operator would, in a shell on a terminal, and gives what the shell was typed meanwhile.
fn typed(engine: &Engine, line: &str) -> (String, String) {
    let script =
        format!("{line}; stty -echo; printf 'END\\n'; IFS= read -t 1 -r typed; printf 'typed:[%s]\\n' \"$typed\"");
    let mut shell = std::process::Command::new("bash");
    engine.environment(&mut shell);
    shell.args(["-c", &script]);
    let mut terminal = Terminal::start(&shell, 80, 24);
    let shown = terminal.expect("END");
    let read = terminal.expect("]");
    (shown, read.split("typed:[").nth(1).unwrap_or_default().trim_end_matches(']').to_owned())
}

#[test]
fn keys_are_typed_into_the_operators_terminal() {
    let engine = ways::engine();
    engine.sleeper("running", &[]);
    let binary = casemate_tests::binary();
    let binary = binary.display();
    for words in [
        "run --rm busybox attacker tty",
        "run --rm -i busybox attacker tty",
        "run --rm -t busybox attacker tty",
        "run --rm -it busybox attacker tty",
        "run --rm -it -u app busybox attacker tty",
        "exec running attacker tty",
        "exec -i running attacker tty",
        "exec -t running attacker tty",
        "exec -it running attacker tty",
    ] {
        let (shown, typed) = typed(&engine, &format!("'{binary}' {words}"));
        assert_eq!(typed, "", "{words}: the operator's terminal was typed into:\n{shown}");
        assert!(
            !shown.contains("TIOCSTI typed") && !shown.contains("TIOCLINUX typed") && !shown.contains("high typed"),
            "{words}: {shown}"
        );
        assert_eq!(
            shown.contains("TIOCSTI EPERM"),
            words.contains(" -t") || words.contains(" -it"),
            "{words}: {shown}"
        );
    }
    // Without the filter it reaches its own terminal, and no other.
    for words in ["run --rm", "run --rm -t", "run --rm -it"] {
        let (shown, typed) =
            typed(&engine, &format!("'{binary}' {words} --security-opt seccomp=unconfined busybox attacker tty"));
        assert_eq!(typed, "", "{words}: {shown}");
    }
}

#[test]
fn keys_are_typed_into_a_terminal_of_the_runtime() {
    let engine = Engine::empty();
    let runtime = Runtime::new();
    let bundle = ways::bundle(&runtime).args(&["/bin/attacker", "tty"]);
    bundle.write();
    let sleeping = ways::bundle(&runtime).sleeping();
    sleeping.launch();
    for words in [
        &["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id][..],
        &["exec", &sleeping.id, "/bin/attacker", "tty"],
    ] {
        let (shown, typed) = typed(&engine, &command::line(&runtime.command(words)));
        // A terminal that is handed down as standard input can be typed into by whoever holds it and is allowed the call; one that is only to be found can't.
        assert!(!shown.contains("/dev/tty"), "{words:?}: the operator's terminal was found: {shown}");
        if !shown.contains("fd0") {
            assert_eq!(typed, "", "{words:?}: {shown}");
        }
    }
    let console = Console::listen(runtime.scratch());
    let hardened = ways::hardened(ways::bundle(&runtime))
        .args(&["/bin/attacker", "tty"])
        .edit(|config| config["process"]["terminal"] = true.into());
    hardened.create_with(&["--console-socket", console.path()]).expect(0);
    let master = console.receive();
    hardened.start().ok();
    let said = master.read_until("nothing is like this");
    assert!(said.contains("TIOCSTI EPERM") && !said.contains(" typed"), "{said}");
}

#[test]
fn what_an_image_says_is_printed() {
    let escape = "\x1b]0;owned\x07\x1b[2J\u{9b}31m";
    let engine = ways::engine();
    let change = |text: String| engine.run_with_input(&["import", "-c", &text, "-", "twisted"], ways::image(|_| ()));
    change(format!("LABEL a=\"{escape}\" \"{escape}\"=b")).ok();
    engine
        .run(&[
            "create",
            "--name",
            "labelled",
            "-l",
            &format!("x={escape}"),
            "-e",
            &format!("E={escape}"),
            "twisted",
            "echo",
            escape,
        ])
        .ok();
    let lines = [
        vec!["ps", "-a", "--no-trunc"],
        vec!["ps", "-a", "--format", "{{.Command}} {{.Labels}}"],
        vec!["ps", "-a", "--format", "json"],
        vec!["inspect", "labelled"],
        vec!["inspect", "twisted"],
        vec!["inspect", "--format", "{{.Config.Labels}} {{.Config.Env}} {{.Config.Cmd}}", "labelled"],
        vec!["inspect", "--format", "{{json .Config}}", "twisted"],
        vec!["run", "--rm", "busybox", escape],
        vec!["run", "--rm", "-w", escape, "busybox", "true"],
        vec!["run", "--rm", "-u", escape, "busybox", "true"],
        vec!["run", "--rm", "-v", escape, "busybox", "true"],
        vec!["run", "--rm", escape],
        vec!["exec", escape, "true"],
        vec!["exec", "labelled", escape],
        vec!["logs", escape],
        vec!["rmi", escape],
        vec!["tag", "busybox", escape],
        vec!["load", "-i", escape],
        vec![escape],
        vec!["run", escape, "--x"],
    ];
    let archive = engine.file("named.tar", {
        let mut builder = casemate_tests::archive::builder();
        casemate_tests::archive::file(&mut builder, &format!("../{escape}"), 0o644, b"x");
        casemate_tests::archive::finish(builder)
    });
    let load = vec!["import", archive.as_str(), "x"];
    for words in lines.iter().chain([&load]) {
        let mut terminal = Terminal::start(&engine.command(words), 200, 24);
        let shown = terminal.rest();
        let bad: Vec<char> = shown.chars().filter(|c| c.is_control() && !"\r\n\t".contains(*c)).collect();
        assert!(bad.is_empty(), "{}: {}", words.join(" ").escape_debug(), shown.escape_debug());
    }
}
