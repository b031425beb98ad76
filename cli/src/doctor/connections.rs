//! The connections that the configuration names, as a step of this machine would find them.

use runward_engine::units::format_duration;
use runward_workers::home::Home;
use runward_workers::reach::connections::{Address, Connections};
use runward_workers::secrets::find::Place;
use runward_workers::step::sql::look::{Seen, look};
use std::time::{Duration, Instant};

use super::check::Check;
use crate::config::Settings;

const NAME: &str = "connection";

/// Each of them; none where none is configured.
pub async fn connections(settings: &Settings, home: Option<&Home>) -> Vec<Check> {
    let mut checks = Vec::new();
    for name in settings.connections.keys() {
        checks.push(match home {
            Some(home) => one(name, settings, home).await,
            None => Check::unknown(NAME, format!("{name}: there is no state folder yet")),
        });
    }
    checks
}

async fn one(name: &str, settings: &Settings, home: &Home) -> Check {
    let all = Connections(settings.connections.clone());
    let sealed = crate::open::home(settings).map_or_else(|_| home.sealed(), |home| home.sealed());
    let place = Place { cwd: home.root().to_owned(), sealed };
    let asked = name.to_owned();
    let found = tokio::task::spawn_blocking(move || all.target(&asked, &place)).await;
    let (target, password) = match found {
        Ok(Ok(found)) => found,
        Ok(Err(why)) => return Check::fail(NAME, why, "steps that name it fail before they start"),
        Err(error) => return Check::unknown(NAME, error.to_string()),
    };
    let begun = Instant::now();
    let password = password.map(|given| String::from_utf8_lossy(given.value.line()).into_owned());
    let seen = look(&target, password.as_deref()).await;
    judge(name, &target.address, seen, begun.elapsed())
}

fn judge(name: &str, address: &Address, seen: Result<Seen, String>, took: Duration) -> Check {
    let place = address.place();
    let seen = match seen {
        Ok(seen) => seen,
        Err(why) => {
            return Check::fail(
                NAME,
                format!("{name} ({place}): {why}"),
                "steps that name it fail: correct the connection",
            );
        }
    };
    let says = format!("{name} ({place}): {}, answered in {}", seen.version, format_duration(took));
    if seen.superuser {
        let fix = "give the connection a role of its own, with no more rights than its steps need: a superuser may read files, start \
                   programs and overrule everything";
        return Check::warn(NAME, format!("{says}, as a superuser"), fix);
    }
    if seen.in_the_clear {
        let fix = "add `?sslmode=verify-full` to its URL, and `&sslrootcert=/path/ca.pem` for a private authority";
        return Check::warn(NAME, format!("{says}, not encrypted"), fix);
    }
    Check::ok(NAME, says)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn a_superuser_and_a_line_in_the_clear_are_told() {
        let address = Address::Postgres { url: String::new(), place: "ops@db/app".to_owned() };
        let verdict = |superuser, in_the_clear| {
            let seen = Seen { version: "PostgreSQL 15".to_owned(), superuser, in_the_clear };
            judge("app", &address, Ok(seen), Duration::from_millis(3))
        };
        assert_eq!(verdict(false, false).verdict, Verdict::Ok);
        assert!(verdict(true, true).says.ends_with("as a superuser"));
        assert_eq!(verdict(false, true).verdict, Verdict::Warn);
        assert_eq!(judge("app", &address, Err("refused".into()), Duration::ZERO).verdict, Verdict::Fail);
    }
}
