//! Who asks, for the record: `alice@db1 (terminal)`, `root@db1 (terminal, ssh from 198.51.100.7, sudo from alice)`,
//! `runner@ci7 (GitHub Actions https://github.com/o/r/actions/runs/1, for alice)`.
//!
//! What stands before the parentheses comes from the kernel. What stands in them is what the environment claims, which
//! whoever starts a program can make up: it explains, it proves nothing.

use std::io::IsTerminal;

use nix::unistd::{Uid, User, gethostname};

/// What the name is made of.
struct Facts<'a> {
    user: String,
    host: String,
    terminal: bool,
    env: &'a dyn Fn(&str) -> Option<String>,
}

pub fn actor() -> String {
    let uid = Uid::effective();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid-{uid}"), |user| user.name);
    let host = gethostname().ok().map(|host| host.to_string_lossy().into_owned()).unwrap_or_default();
    let terminal = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
    let env = |name: &str| {
        let value = std::env::var_os(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then_some(value)
    };
    describe(&Facts { user, host, terminal, env: &env })
}

fn describe(facts: &Facts<'_>) -> String {
    let place = service(facts.env).unwrap_or_else(|| match facts.terminal {
        true => "terminal".to_owned(),
        false => "no terminal".to_owned(),
    });
    // `address port address port`: the first is where whoever logged in came from.
    let ssh = (facts.env)("SSH_CONNECTION").and_then(|all| all.split_whitespace().next().map(clean));
    let ssh = ssh.map(|address| format!(", ssh from {address}"));
    let sudo = (facts.env)("SUDO_USER").map(|name| format!(", sudo from {}", clean(&name)));
    let (ssh, sudo) = (ssh.unwrap_or_default(), sudo.unwrap_or_default());
    format!("{}@{} ({place}{ssh}{sudo})", clean(&facts.user), clean(&facts.host))
}

/// A CI service, by the variable that it says of itself to set in every job.
struct Service {
    name: &'static str,
    sets: &'static str,
    /// Of the job. Joined as they are.
    link: &'static [Part],
    person: Option<&'static str>,
}

enum Part {
    Var(&'static str),
    Text(&'static str),
}

use Part::{Text, Var};

const SERVICES: &[Service] = &[
    Service {
        name: "GitHub Actions",
        sets: "GITHUB_ACTIONS",
        link: &[
            Var("GITHUB_SERVER_URL"),
            Text("/"),
            Var("GITHUB_REPOSITORY"),
            Text("/actions/runs/"),
            Var("GITHUB_RUN_ID"),
        ],
        person: Some("GITHUB_ACTOR"),
    },
    Service { name: "GitLab CI", sets: "GITLAB_CI", link: &[Var("CI_JOB_URL")], person: Some("GITLAB_USER_LOGIN") },
    Service { name: "Jenkins", sets: "JENKINS_URL", link: &[Var("BUILD_URL")], person: Some("BUILD_USER_ID") },
    Service { name: "Buildkite", sets: "BUILDKITE", link: &[Var("BUILDKITE_BUILD_URL")], person: None },
    Service { name: "CircleCI", sets: "CIRCLECI", link: &[Var("CIRCLE_BUILD_URL")], person: Some("CIRCLE_USERNAME") },
    Service { name: "CI", sets: "CI", link: &[], person: None },
];

/// Whom a job of CI runs for, as it says.
pub fn ci_person() -> Option<String> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let service = SERVICES.iter().find(|service| env(service.sets).is_some_and(|set| set != "false"))?;
    service.person.and_then(env).map(|name| clean(&name))
}

fn service(env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let service = SERVICES.iter().find(|service| env(service.sets).is_some_and(|set| set != "false"))?;
    let parts = service.link.iter().map(|part| match part {
        Var(name) => env(name),
        Text(text) => Some((*text).to_owned()),
    });
    let link = parts.collect::<Option<String>>().filter(|link| !link.is_empty());
    let link = link.map(|link| format!(" {}", clean(&link)));
    let person = service.person.and_then(env).map(|name| format!(", for {}", clean(&name)));
    Some(format!("{}{}{}", service.name, link.unwrap_or_default(), person.unwrap_or_default()))
}

/// At most so much of anything that is only claimed, in characters.
const CLAIM_CHARS_MAX: usize = 200;

/// A claim is one word: nothing in it can end the parentheses, begin a line or turn the text around.
pub fn clean(claim: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-._~:/?#@!$&*+=%".contains(c);
    claim.chars().take(CLAIM_CHARS_MAX).map(|c| if plain(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(terminal: bool, set: &[(&str, &str)]) -> String {
        let env = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        describe(&Facts { user: "alice".into(), host: "db1".into(), terminal, env: &env })
    }

    #[test]
    fn a_person_at_a_terminal_and_a_job_without_one() {
        assert_eq!(described(true, &[]), "alice@db1 (terminal)");
        assert_eq!(described(false, &[("CI", "false")]), "alice@db1 (no terminal)");
        assert_eq!(described(true, &[("SUDO_USER", "bob")]), "alice@db1 (terminal, sudo from bob)");
        let ssh = ("SSH_CONNECTION", "198.51.100.7 52044 10.0.0.5 22");
        assert_eq!(described(true, &[ssh]), "alice@db1 (terminal, ssh from 198.51.100.7)");
        let both = described(true, &[ssh, ("SUDO_USER", "bob")]);
        assert_eq!(both, "alice@db1 (terminal, ssh from 198.51.100.7, sudo from bob)");
    }

    #[test]
    fn a_job_of_ci_is_named_with_its_link() {
        let github = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "o/r"),
            ("GITHUB_RUN_ID", "17"),
            ("GITHUB_ACTOR", "bob"),
        ];
        let link = "https://github.com/o/r/actions/runs/17";
        assert_eq!(described(false, &github), format!("alice@db1 (GitHub Actions {link}, for bob)"));
        assert_eq!(described(false, &github[..3]), "alice@db1 (GitHub Actions)", "half a link is none");
        let gitlab = [("GITLAB_CI", "true"), ("CI_JOB_URL", "https://git.example.com/o/r/-/jobs/5")];
        assert_eq!(described(false, &gitlab), "alice@db1 (GitLab CI https://git.example.com/o/r/-/jobs/5)");
        assert_eq!(described(false, &[("CI", "1")]), "alice@db1 (CI)");
    }

    #[test]
    fn a_claim_cannot_leave_its_place() {
        let name = "x) root@prod (terminal\n\u{202e}evil\u{1b}[2J, 备份";
        assert_eq!(
            described(true, &[("SUDO_USER", name)]),
            "alice@db1 (terminal, sudo from x??root@prod??terminal??evil??2J??备份)"
        );
        let long = "a".repeat(10_000);
        assert!(described(true, &[("SUDO_USER", &long)]).len() < 300);
    }
}
