//! What stands around a run and is not part of its plan: the runs that it must not overlap with, and its windows. Both
//! are told as they are now; when it runs they may stand otherwise.

use chrono_tz::Tz;
use runward_engine::run::group::{Group, Member, Permit};
use runward_engine::runbook::model::{Runbook, WhenBusy};
use runward_engine::schedule::calendar::Closed;
use serde_json::{Value, json};

use crate::open::zone_name;
use crate::text;
use crate::view::{waits, words};

/// Holders named one by one; the rest is counted.
const NAMED_MAX: usize = 5;

pub struct Around {
    group: Option<Group>,
    members: Vec<Member>,
    /// `None`: it has no windows.
    window: Option<Window>,
}

enum Window {
    Open,
    Closed(Closed),
}

impl Around {
    pub fn of(runbook: &Runbook, group: Option<Group>, members: Vec<Member>) -> Around {
        let zone = zone_name().parse().unwrap_or(Tz::UTC);
        let now = || runbook.windows.closed(text::now(), zone).map_or(Window::Open, Window::Closed);
        let window = (!runbook.windows.is_empty()).then(now);
        Around { group, members, window }
    }

    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.group.iter().flat_map(|group| self.group_lines(group)).collect();
        match &self.window {
            None => {}
            Some(Window::Open) => lines.push("window      open now".to_owned()),
            Some(Window::Closed(closed)) => {
                let opens = |at| format!("it opens {}, and a run waits for it", waits::moment(at, text::now()));
                let until = closed.until.map_or("it never opens".to_owned(), opens);
                lines.push(format!("window      closed now, {}: {until}", text::safe(&closed.because)));
            }
        }
        lines
    }

    fn group_lines(&self, group: &Group) -> Vec<String> {
        let busy = match group.when_busy {
            WhenBusy::Queue => "waits",
            WhenBusy::Skip => "is left out",
            WhenBusy::Fail => "fails",
            WhenBusy::CancelRunning => "cancels those before it",
        };
        let runs = text::count(group.limit.get().into(), "run");
        let name = text::safe(&group.name);
        let mut lines = vec![format!("group       {name}, at most {runs} at once; one that finds it busy {busy}")];
        let of = |permit| self.members.iter().filter(move |member| member.permit == permit);
        for holder in of(Permit::Holds).take(NAMED_MAX) {
            let (short, name) = (words::short(&holder.run.0), text::safe(&holder.name));
            let since = text::time(holder.since);
            lines.push(format!("            held by run {short} of {name}, by {} since {since}", holder.actor));
        }
        let (holders, waiting) = (of(Permit::Holds).count(), of(Permit::Waits).count());
        if holders > NAMED_MAX {
            lines.push(format!("            and by {} more", holders - NAMED_MAX));
        }
        match (holders, waiting) {
            (0, 0) => lines.push("            free now".to_owned()),
            (_, 0) => {}
            (_, waiting) => lines.push(format!("            {} for it", waits_of(waiting))),
        }
        lines
    }

    pub fn group_json(&self) -> Value {
        let group = |group: &Group| json!({"name": group.name, "limit": group.limit, "when_busy": group.when_busy, "members": self.members});
        self.group.as_ref().map_or(Value::Null, group)
    }

    pub fn window_json(&self) -> Value {
        match &self.window {
            None => Value::Null,
            Some(Window::Open) => json!({"open": true}),
            Some(Window::Closed(closed)) => json!({"open": false, "because": closed.because, "opens": closed.until}),
        }
    }
}

fn waits_of(runs: usize) -> String {
    if runs == 1 { "1 run waits".to_owned() } else { format!("{runs} runs wait") }
}
