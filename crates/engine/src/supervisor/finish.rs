//! The end: recorded, told, cleaned up, in the order in which a kill between any two steps does no harm.

use std::fs::File;

use crate::error::Error;
use crate::frame::Reply;
use crate::record::{self, EXIT_FILE, Ended as EndRecord, STATE_FILE};
use crate::removal::{self, Leaving};
use crate::time::Timestamp;
use crate::{directories, events};

use super::pump::Ended;
use super::{Order, Watch};

/// Records how the container ended, tells everybody, and removes what ended with it.
pub(super) fn finish(mut ended: Ended, watch: &Watch, lock: File) {
    let code = ended.exit.code();
    let exit_file = watch.directories.container(&watch.leaving.id).join(EXIT_FILE);
    let error = match ended.log_lost {
        0 => String::new(),
        lost => format!("{lost} lines of the log could not be written"),
    };
    let end = EndRecord {
        exit_code: code,
        oom_killed: ended.oom_killed,
        started: watch.started,
        finished: Timestamp::now(),
        error,
    };
    let actions: &[&str] = if watch.auto_remove { &["die", "destroy"] } else { &["die"] };
    events::append(&watch.directories, actions, &watch.leaving, Some(code));
    if watch.auto_remove {
        // Gone before anybody is told that it ended: its name can be used again at once.
        let _ = removal::remove(&watch.directories, &watch.leaving);
        let _ = removal::remove_run(&watch.run);
    } else {
        // What can't be written (a full disk) is lost; the next command that looks finds the state without a supervisor and
        // records the end as well as it can.
        if record::write(&exit_file, &end, false).is_ok() {
            let _ = directories::remove_file(&watch.run.join(STATE_FILE));
        }
    }
    ended.clients.tell(&Reply::Exited { code, oom_killed: ended.oom_killed });
    drop(ended.clients);
    let _ = ended.cgroup.remove();
    if !watch.auto_remove && !watch.run.join(STATE_FILE).exists() {
        let _ = removal::remove_run(&watch.run);
    }
    // Only now may somebody start it again: its control group is gone.
    drop(lock);
    if !watch.auto_remove {
        // Nobody waits for the disk any more; a container that is removed meanwhile needs no record.
        let _ = File::open(&exit_file).and_then(|file| file.sync_all());
        let _ = exit_file.parent().map(|directory| File::open(directory).and_then(|file| file.sync_all()));
    }
}

/// Records that a container could not be brought to life.
pub(super) fn never_started(order: &Order, error: &Error) {
    let record = &order.record;
    let leaving = Leaving::of(record);
    let run = order.directories.run_of(&leaving.id);
    if record.identity.auto_remove {
        let _ = removal::remove(&order.directories, &leaving);
    } else {
        let end = EndRecord {
            exit_code: i32::from(error.kind().exit_code()),
            oom_killed: false,
            started: Timestamp::NEVER,
            finished: Timestamp::now(),
            error: error.to_string(),
        };
        let _ = record::write(&order.directories.container(&leaving.id).join(EXIT_FILE), &end, false);
    }
    let _ = directories::remove_tree(&run);
}
