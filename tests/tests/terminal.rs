//! Interactive use, typed into a terminal.
#![forbid(unsafe_code)]

use casemate_tests::terminal::Terminal;
use casemate_tests::{Engine, eventually};

#[test]
fn a_shell_feels_like_a_shell() {
    let engine = Engine::new();
    let mut terminal =
        Terminal::start(&engine.command(&["run", "--rm", "-it", "--name", "shell", "busybox", "sh"]), 100, 30);
    terminal.expect("# ");
    terminal.send("stty size; tty; echo $TERM\r");
    terminal.expect("30 100");
    terminal.expect("/dev/pts/0");
    terminal.expect("xterm");
    assert!(!terminal.is_cooked(), "this side is raw: the container's terminal edits and echoes");
    // It is a session with job control: Ctrl-C ends what runs in front and nothing else, Ctrl-Z stops it.
    terminal.send("trap '' USR1; sleep 1000\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\x03");
    terminal.expect("# ");
    terminal.send("echo still-$((40+2))\r");
    terminal.expect("still-42");
    terminal.send("cat\r");
    // Until then the shell reads what is typed, and edits it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("typed\r");
    terminal.expect("typed\r\ntyped");
    terminal.send("\x04");
    terminal.expect("# ");
    terminal.send("exit 9\r");
    assert_eq!(terminal.code(), 9);
    assert!(terminal.is_cooked(), "the terminal is as it was");
    engine.assert_nothing_left();
}

#[test]
fn a_new_size_reaches_the_program() {
    let engine = Engine::new();
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(&engine.command(&["run", "--rm", "-it", "busybox", "sh", "-c", script]), 80, 24);
    terminal.expect("ready");
    terminal.resize(132, 43);
    terminal.expect("43 132");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn detach_keys_leave_and_attach_comes_back() {
    let engine = Engine::new();
    let mut terminal = Terminal::start(&engine.command(&["run", "-it", "--name", "kept", "busybox", "sh"]), 80, 24);
    terminal.expect("# ");
    terminal.send("variable=kept; echo first-$variable\r");
    terminal.expect("first-kept");
    terminal.expect("# ");
    terminal.send("\x10\x11");
    assert_eq!(terminal.code(), 0);
    assert!(terminal.is_cooked());
    assert_eq!(engine.field("kept", "{{.State.Status}}"), "running");
    let mut again = Terminal::start(&engine.command(&["attach", "kept"]), 90, 20);
    again.send("\r");
    again.expect("# ");
    again.send("echo again-$variable; stty size\r");
    again.expect("again-kept");
    again.expect("20 90");
    again.expect("# ");
    // One key of the two is the program's.
    again.send("\x10x\r");
    again.expect("# ");
    again.send("exit 4\r");
    assert_eq!(again.code(), 4);
    // Other keys, when asked for.
    let words = ["run", "-it", "--name", "other", "--detach-keys", "ctrl-x,q", "busybox", "sh"];
    let mut terminal = Terminal::start(&engine.command(&words), 80, 24);
    terminal.expect("# ");
    terminal.send("\x18q");
    assert_eq!(terminal.code(), 0);
    engine.run(&["rm", "-f", "other"]).ok();
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let engine = Engine::new();
    engine.sleeper("main", &[]);
    let mut terminal = Terminal::start(&engine.command(&["exec", "-it", "main", "sh"]), 70, 22);
    terminal.expect("# ");
    terminal.send("stty size; tty\r");
    terminal.expect("22 70");
    terminal.expect("/dev/pts/0");
    terminal.resize(71, 23);
    // The size travels by signal and message: asked until it has arrived.
    terminal.send("until [ \"$(stty size)\" = '23 71' ]; do :; done; echo size-$((1 + 1))\r");
    terminal.expect("size-2");
    terminal.send("exit 3\r");
    assert_eq!(terminal.code(), 3);
    assert!(terminal.is_cooked());
    assert_eq!(engine.field("main", "{{.State.Status}}"), "running");
}

#[test]
fn without_t_ctrl_c_is_a_signal_that_is_passed_on() {
    let engine = Engine::new();
    let script = "trap 'echo interrupted; exit 130' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(&engine.command(&["run", "--rm", "busybox", "sh", "-c", script]), 80, 24);
    terminal.expect("ready");
    terminal.send("\x03");
    terminal.expect("interrupted");
    assert_eq!(terminal.code(), 130);
    engine.assert_nothing_left();
}

#[test]
fn a_terminal_that_goes_away_is_a_hangup() {
    let engine = Engine::new();
    let script = "trap 'exit 0' HUP; echo ready; while :; do sleep 0.05; done";
    let mut terminal =
        Terminal::start(&engine.command(&["run", "--name", "hung", "-it", "busybox", "sh", "-c", script]), 80, 24);
    terminal.expect("ready");
    drop(terminal);
    // Whatever becomes of the container, it is known and can be removed; nothing spins.
    assert!(eventually(10, || ["running", "exited"].contains(&engine.field("hung", "{{.State.Status}}").as_str())));
    engine.run(&["rm", "-f", "hung"]).ok();
    engine.assert_nothing_left();
}

#[test]
fn i_with_t_needs_a_terminal() {
    let engine = Engine::new();
    engine.run_with_input(&["run", "--rm", "-it", "busybox", "true"], "x").expect(1).says(&["terminal"]);
    // -t alone does not: the output is a terminal's all the same.
    let output = engine.run(&["run", "--rm", "-t", "busybox", "sh", "-c", "test -t 1 && echo a terminal"]).expect(0);
    assert_eq!(output.bytes, b"a terminal\r\n");
}

#[test]
fn what_a_container_is_called_can_not_write_to_the_operators_terminal() {
    // Labels, commands and variables of an image come from outside: escape sequences in them are shown, not sent.
    let engine = Engine::new();
    engine.run(&["create", "--name", "odd", "-l", "a=\x1b]0;owned\x07", "busybox", "echo", "\x1b[2J"]).ok();
    for words in
        [&["ps", "-a", "--no-trunc"][..], &["ps", "-a", "--format", "{{.Command}} {{.Labels}}"], &["inspect", "odd"]]
    {
        let mut terminal = Terminal::start(&engine.command(words), 200, 24);
        let shown = terminal.rest();
        assert_eq!(terminal.code(), 0);
        assert!(shown.contains("owned") || !shown.contains("Labels"), "{words:?}: {shown}");
        assert!(!shown.contains(['\x1b', '\x07']), "{words:?}: {}", shown.escape_debug());
    }
}
