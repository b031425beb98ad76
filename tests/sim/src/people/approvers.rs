//! Those who approve and reject: what they have seen of a run when they decide, which may be long over, and who they are.

use runward_engine::run::approval::Decision;
use runward_engine::run::command::Person;
use runward_engine::run::{Command, Event as Recorded, Reject, Unit};
use runward_store::RunView;

use crate::world::{Event, World};

/// Who asks for every run.
pub(super) const REQUESTER: &str = "owner";
const PEOPLE: [(&str, &[&str]); 4] = [(REQUESTER, &["ops"]), ("ann", &["ops"]), ("bob", &["ops"]), ("cat", &[])];

/// Whether `by` names somebody, written down once more.
pub fn may(name: &str, by: &[String], not_requester: bool) -> bool {
    let groups = PEOPLE.iter().find(|person| person.0 == name).map_or(&[][..], |person| person.1);
    let named = by.is_empty() || by.iter().any(|it| it == name || groups.contains(&it.as_str()));
    named && !(not_requester && name == REQUESTER)
}

/// What somebody decides about, as they have seen it.
#[derive(Debug, Clone)]
pub struct Seen {
    plan: String,
    generation: u32,
}

impl Seen {
    pub(super) fn of(command: &Command) -> Option<Seen> {
        match command {
            Command::Decide { plan, generation, .. } => Some(Seen { plan: plan.clone(), generation: *generation }),
            _ => None,
        }
    }

    /// What is wrong, if their word was taken for something else.
    pub(super) fn is_not(&self, event: &Recorded) -> Option<String> {
        match event {
            Recorded::ApprovalDecided { generation, plan, .. } => {
                let same = *generation == self.generation && *plan == self.plan;
                (!same).then(|| format!("{self:?} was decided about, recorded for {plan} in generation {generation}"))
            }
            _ => None,
        }
    }
}

impl World {
    /// Somebody tells people that they are asked; they decide when they get round to it, some of them at once.
    pub(super) fn be_asked(&mut self, job: usize, view: &RunView) {
        let Some(unit) = view.state.asked().next().filter(|_| self.dice.percent(70)) else { return };
        let later = *self.dice.pick(&[10, 500, 5_000, 30_000]);
        for _ in 0..self.dice.between(1, 3) {
            let (name, groups) = *self.dice.pick(&PEOPLE);
            let decision = if self.dice.percent(80) { Decision::Approved } else { Decision::Rejected };
            let another = self.dice.percent(8);
            let plan = if another { "of-another-run".to_owned() } else { view.state.plan.clone() };
            let word = decide(unit, decision, (name, groups), plan, view.state.generation);
            let when = later + self.dice.below(40);
            self.after(when, Event::Decides { job, word: Box::new(word) });
        }
    }

    /// Everybody who may agrees.
    pub(super) fn approve_all(&mut self, job: usize, view: &RunView) {
        for unit in view.state.asked() {
            for person in PEOPLE {
                let word = decide(unit, Decision::Approved, person, view.state.plan.clone(), view.state.generation);
                let when = self.dice.below(3_000);
                self.after(when, Event::Decides { job, word: Box::new(word) });
            }
        }
    }

    pub(crate) fn decides(&mut self, job: usize, word: Command) {
        if let Some(mut view) = self.read(job) {
            self.say(job, &mut view, word);
        }
    }

    pub(super) fn note_refusal(&mut self, reject: &Reject) {
        self.counters.add(match reject {
            Reject::Decided { .. } => "an approval came too late: it was decided",
            Reject::AlreadyApproved { .. } => "one person approved twice",
            Reject::OtherPlan { .. } => "an approval was of another plan or generation",
            Reject::NotAllowed { .. } => "an approval came from somebody who may not",
            Reject::IsRequester { .. } => "an approval came from the requester",
            _ => return,
        });
    }
}

fn decide(unit: Unit, decision: Decision, (name, groups): (&str, &[&str]), plan: String, generation: u32) -> Command {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let person = Person { name: name.to_owned(), groups };
    Command::Decide { unit, decision, person, plan, generation, comment: None }
}
