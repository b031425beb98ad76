//! Who is told what: the channels that are configured, and the rules that choose between them.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::bind::Message;
use runward_engine::run::Notice;
use runward_engine::run::notice::Kind;
use runward_engine::runbook::notify::Severity;
use runward_engine::runbook::secrets::Provider;
use runward_store::outbox::{Route, Unrouted};

/// `[notify]` of a configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directory {
    pub channels: BTreeMap<String, Channel>,
    /// All that fit count. None at all: every notice goes to every channel.
    pub rules: Vec<Rule>,
}

/// Which notices go to these channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Empty: any.
    pub severities: BTreeSet<Severity>,
    /// Empty: any.
    pub events: BTreeSet<Kind>,
    pub channels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    pub way: Way,
    /// Instead of those of [`super::message`].
    pub subject: Option<Message>,
    pub text: Option<Message>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Webhook(Webhook),
    Mail(Mail),
}

/// A value that may be a secret: then it is found each time anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    Text(String),
    Secret(Provider),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: Given,
    /// Signs what is sent.
    pub secret: Option<Provider>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub server: String,
    /// `None`: the one of `tls`.
    pub port: Option<u16>,
    pub tls: Tls,
    pub login: Option<Login>,
    pub from: String,
    /// At least one.
    pub to: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: Given,
    pub password: Provider,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tls {
    /// Asked for as soon as the server has answered; without it nothing is sent.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Everybody on the way can read it.
    None,
}

impl Way {
    /// How often as long as a request a try may take: a mail server scans what it accepts.
    pub fn slowness(&self) -> u32 {
        match self {
            Way::Webhook(_) => 1,
            Way::Mail(_) => 5,
        }
    }
}

impl Tls {
    pub fn port(self) -> u16 {
        match self {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        }
    }
}

impl Directory {
    /// Nobody is ever told anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Where a notice goes.
    pub fn route(&self, notice: &Notice) -> Route {
        if let Some(channel) = &notice.channel {
            return Route::To(vec![channel.clone()]);
        }
        let rules = self.rules.iter().filter(|rule| rule.is_for(notice));
        let channels: BTreeSet<&String> = match self.rules.is_empty() {
            true => self.channels.keys().collect(),
            false => rules.flat_map(|rule| &rule.channels).collect(),
        };
        match channels.is_empty() {
            true => Route::Nowhere(Unrouted::NoRoute),
            false => Route::To(channels.into_iter().cloned().collect()),
        }
    }
}

impl Rule {
    fn is_for(&self, notice: &Notice) -> bool {
        (self.severities.is_empty() || self.severities.contains(&notice.severity))
            && (self.events.is_empty() || self.events.contains(&notice.kind))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn notice(kind: Kind, severity: Severity) -> Notice {
        Notice {
            id: "run-1-7-failed".into(),
            kind,
            severity,
            at: 1_000,
            runbook: "pg-upgrade".into(),
            run: Some("0199-aaaa-bbbb".into()),
            step: Some("upgrade[1]".into()),
            reason: Some("exit code 3".into()),
            params: Some("env=prod".into()),
            actor: Some("alice@ops (terminal)".into()),
            rollback: None,
            schedule: None,
            channel: None,
        }
    }

    fn directory(rules: Vec<Rule>) -> Directory {
        let way = Way::Webhook(Webhook { url: Given::Text("http://h/".into()), secret: None });
        let channel = Channel { way, subject: None, text: None };
        let channels = ["ops", "oncall"].map(|name| (name.to_owned(), channel.clone()));
        Directory { channels: channels.into(), rules }
    }

    fn to(channels: &[&str]) -> Route {
        Route::To(channels.iter().map(|&channel| channel.to_owned()).collect())
    }

    #[test]
    fn every_rule_that_fits_counts_and_a_channel_is_told_once() {
        let night = Rule {
            severities: [Severity::P0, Severity::P1].into(),
            events: [Kind::Failed, Kind::Held].into(),
            channels: vec!["oncall".into(), "ops".into()],
        };
        let rest = Rule { channels: vec!["ops".into()], ..Rule::default() };
        let it = directory(vec![night.clone(), rest]);
        assert_eq!(it.route(&notice(Kind::Failed, Severity::P1)), to(&["oncall", "ops"]));
        assert_eq!(it.route(&notice(Kind::Failed, Severity::P2)), to(&["ops"]));
        assert_eq!(it.route(&notice(Kind::Recovered, Severity::P0)), to(&["ops"]));
        let only = directory(vec![night]);
        assert_eq!(only.route(&notice(Kind::Failed, Severity::P3)), Route::Nowhere(Unrouted::NoRoute));
    }

    #[test]
    fn without_rules_everybody_is_told_and_without_channels_nobody() {
        assert_eq!(directory(vec![]).route(&notice(Kind::Missed, Severity::P3)), to(&["oncall", "ops"]));
        let none = Directory::default();
        assert_eq!(none.route(&notice(Kind::Failed, Severity::P0)), Route::Nowhere(Unrouted::NoRoute));
    }

    #[test]
    fn a_step_names_its_channel() {
        let step = Notice { channel: Some("nobody".into()), ..notice(Kind::Message, Severity::P2) };
        assert_eq!(Directory::default().route(&step), to(&["nobody"]));
    }
}
