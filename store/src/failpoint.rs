//! Named places at which tests have a process die, stand still, dawdle or fail: those where a death hurts most.
//!
//! A test arms a point with a file `armed/NAME`, which says what is to happen, in a folder that the variable
//! [`FAILPOINTS`] names. Whoever reaches the point first, of all processes, renames the file to `hit/NAME.ACTION.PID` and
//! does it: so it happens once, and the test knows to whom. Without that variable nothing happens, and a release build has
//! only the names.

use std::fmt;
use std::io;

use crate::ledger::Linked;

/// For tests only: where points are armed.
pub const FAILPOINTS: &str = "RUNWARD_TEST_FAILPOINTS";

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// As by `kill -9`.
    Kill,
    /// As by `kill -STOP`, until somebody wakes it.
    Freeze,
    /// The process does nothing for a while.
    Delay,
    /// What comes next does not work, or its answer is lost.
    Fail,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Kill, Action::Freeze, Action::Delay, Action::Fail];

    pub fn name(self) -> &'static str {
        match self {
            Action::Kill => "kill",
            Action::Freeze => "freeze",
            Action::Delay => "delay",
            Action::Fail => "fail",
        }
    }
}

macro_rules! points {
    ($($(#[$about:meta])* $point:ident $name:literal $($fails:ident)?,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$about])* $point,)*
        }

        impl Point {
            pub const ALL: &'static [Point] = &[$(Point::$point),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }

            /// Whether what comes next can be made to fail.
            pub fn can_fail(self) -> bool {
                match self {
                    $(Point::$point => false $(|| $fails)?,)*
                }
            }
        }
    };
}

/// For the list below.
#[allow(non_upper_case_globals, reason = "a word in a list")]
const fails: bool = true;

points! {
    /// A commit is decided, and not written.
    BeforeClaim "before_claim" fails,
    BeforeSettle "before_settle" fails,
    /// It is written, and whoever made it does not know.
    AfterTrigger "after_trigger" fails,
    AfterClaim "after_claim" fails,
    AfterSettle "after_settle" fails,
    AfterFinish "after_finish" fails,
    AfterAdopt "after_adopt" fails,
    AfterVoid "after_void" fails,
    AfterLose "after_lose" fails,
    AfterDecide "after_decide" fails,
    AfterChild "after_child" fails,
    AfterWait "after_wait" fails,
    AfterRollback "after_rollback" fails,
    /// A claim is acknowledged, and no supervisor knows of it.
    BeforeLaunch "before_launch" fails,
    AfterLaunch "after_launch",
    /// A supervisor has heard of it, and nothing is done.
    BeforeFork "before_fork" fails,
    /// In the subreaper: around the mark that says "started".
    BeforeMark "before_mark" fails,
    AfterMark "after_mark",
    /// The step runs, and nobody watches yet.
    AfterSpawn "after_spawn",
    /// The step is over, and that is not written yet.
    BeforeResult "before_result",
    AfterResult "after_result",
    /// The supervisor knows, and has told nobody.
    BeforeTold "before_told",
    /// The journal says that it never starts, and the ledger does not.
    VoidMarked "void_marked",
    /// A member is on the record, and does not know.
    AfterJoin "after_join" fails,
    InBeat "in_beat" fails,
    /// A session is dead for all others, and its attempts are not given up.
    AfterBury "after_bury" fails,
    /// The ledger knows who can go on, and nobody is told.
    BeforeHints "before_hints" fails,
    HintTaken "hint_taken",
    /// A part of what a step printed is in the ledger, and its sender does not know.
    AfterShip "after_ship" fails,
    /// A tick and its run are written, and not committed.
    TickInserted "tick_inserted" fails,
    /// It is committed, and the cursor is not moved.
    TickDecided "tick_decided",
    /// A delivery is its sender's, and nothing is sent.
    LetterTaken "letter_taken",
    /// The receiver has it, and the ledger does not know.
    LetterSent "letter_sent",
    /// The ledger has forgotten a run, and its folder is there.
    AfterPrune "after_prune",
    BeforeTidy "before_tidy",
    /// Between two migrations.
    BetweenMigrations "between_migrations" fails,
}

impl Point {
    /// What is tried there.
    pub fn actions(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| *action != Action::Fail || self.can_fail())
    }
}

impl fmt::Display for Point {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// For a place that cannot fail.
pub fn reach(point: Point) {
    let _ = fails_at(point); // `fail` is not armed there
}

/// For a place that can.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn fails_at(_: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
pub use armed::fails_at;

/// What a process that was given nothing of it needs, to reach points.
pub fn environment() -> Option<(&'static str, std::ffi::OsString)> {
    let folder = std::env::var_os(FAILPOINTS).filter(|_| cfg!(debug_assertions));
    folder.map(|folder| (FAILPOINTS, folder))
}

/// A commit of these events is decided, and not written.
pub(crate) fn before_commit(events: &[Linked]) -> io::Result<()> {
    let kinds = [("attempt_settled", Point::BeforeSettle), ("attempt_claimed", Point::BeforeClaim)];
    of_commit(events, &kinds)
}

/// It is done, and whoever made it does not know.
pub(crate) fn after_commit(events: &[Linked]) -> io::Result<()> {
    // The rarest first: they come with the others.
    let kinds = [
        ("rollback_started", Point::AfterRollback),
        ("attempt_lost", Point::AfterLose),
        ("attempt_voided", Point::AfterVoid),
        ("attempt_adopted", Point::AfterAdopt),
        ("approval_decided", Point::AfterDecide),
        ("child_settled", Point::AfterChild),
        ("wait_ended", Point::AfterWait),
        ("run_finished", Point::AfterFinish),
        ("attempt_settled", Point::AfterSettle),
        ("attempt_claimed", Point::AfterClaim),
    ];
    of_commit(events, &kinds)
}

fn of_commit(events: &[Linked], kinds: &[(&str, Point)]) -> io::Result<()> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let has = |kind: &str| events.iter().any(|(event, _)| event.recorded.event.kind() == kind);
    kinds.iter().find(|(kind, _)| has(kind)).map_or(Ok(()), |(_, point)| fails_at(*point))
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::Duration;

    use nix::sys::signal::{Signal, raise};

    use super::{Action, FAILPOINTS, Point};

    const DELAY: Duration = Duration::from_secs(2);

    /// Does what is armed, if something is.
    pub fn fails_at(point: Point) -> io::Result<()> {
        static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| std::env::var_os(FAILPOINTS).map(PathBuf::from));
        match folder.as_deref().and_then(|folder| take(folder, point)) {
            None => Ok(()),
            Some(Action::Fail) => Err(io::Error::other(format!("a test has it fail at {point}"))),
            Some(Action::Delay) => {
                std::thread::sleep(DELAY);
                Ok(())
            }
            Some(Action::Freeze) => Ok(raise(Signal::SIGSTOP)?),
            Some(Action::Kill) => Ok(raise(Signal::SIGKILL)?),
        }
    }

    /// What is to happen here, if nobody was faster.
    fn take(folder: &Path, point: Point) -> Option<Action> {
        let armed = folder.join("armed").join(point.name());
        let word = fs::read_to_string(&armed).ok()?;
        let action = Action::ALL.into_iter().find(|action| action.name() == word)?;
        let hit = format!("{point}.{}.{}", action.name(), std::process::id());
        fs::rename(armed, folder.join("hit").join(hit)).ok().map(|()| action)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_armed_point_is_taken_once_and_says_by_whom() {
            let folder = tempfile::tempdir().unwrap();
            for name in ["armed", "hit"] {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            fs::write(folder.path().join("armed/after_claim"), "delay").unwrap();
            assert_eq!(take(folder.path(), Point::BeforeClaim), None);
            assert_eq!(take(folder.path(), Point::AfterClaim), Some(Action::Delay));
            assert_eq!(take(folder.path(), Point::AfterClaim), None);
            assert!(folder.path().join(format!("hit/after_claim.delay.{}", std::process::id())).exists());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own_in_small_letters() {
        let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|it| it.is_ascii_lowercase() || it == '_')));
    }
}
