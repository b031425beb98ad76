//! What went wrong with a connection: ssh's own words, and what to do.

use std::io;

/// Of what others say, in characters.
const QUOTED_MAX: usize = 400;

pub(super) fn no_ssh(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no `ssh` on this machine: install openssh-client".to_owned(),
        _ => format!("`ssh` cannot be started on this machine: {error}"),
    }
}

/// `said`: by ssh, and by the host before it was asked anything.
pub(super) fn broken(host: &str, said: &(String, String)) -> String {
    let (ssh, greeting) = said;
    let words = match (ssh.is_empty(), greeting.is_empty()) {
        (false, _) => last(ssh),
        (true, false) => quoted(greeting),
        (true, true) => "ssh ended without a word".to_owned(),
    };
    match advice(host, ssh) {
        Some(advice) => format!("ssh {host}: {words}: {advice}"),
        None if !greeting.is_empty() => format!(
            "ssh {host}: {words}: its login shell has to run what it is given, with `sh`, and without a word of its own"
        ),
        None => format!("ssh {host}: {words}"),
    }
}

/// The time of the step was over before it could be started.
pub(super) fn too_late(host: &str, said: &(String, String)) -> String {
    let words = [&said.0, &said.1].into_iter().find(|said| !said.is_empty());
    let words = words.map(|said| format!(" ({})", last(said))).unwrap_or_default();
    format!(
        "ssh {host}: it did not get ready before the step's time was over{words}, and nothing was started there: see whether \
         `ssh -o BatchMode=yes -- {host} true` comes back at once, and what its login shell waits for"
    )
}

fn advice(host: &str, said: &str) -> Option<String> {
    let by_hand = |what: &str| {
        format!("{what}, as the user that runs the steps: ssh -o StrictHostKeyChecking=ask -- {host} true")
    };
    if said.contains("HOST IDENTIFICATION HAS CHANGED") {
        let remove = "its key is not the one that is known: find out why before anything else. If it was installed anew, \
                      remove the old key with `ssh-keygen -R` and its name, and then";
        return Some(by_hand(&format!("{remove} look at the new one and accept it")));
    }
    if said.contains("host key is known") || said.contains("Host key verification failed") {
        return Some(by_hand("its key is not known here. Compare the fingerprint and accept it once"));
    }
    if said.contains("Permission denied") {
        return Some(format!(
            "nobody is there to type a password: give the user that runs the steps a key, and try it: ssh -o BatchMode=yes -- {host} true"
        ));
    }
    let names = ["Could not resolve hostname", "Name or service not known"];
    names.iter().any(|name| said.contains(name)).then(|| "check the name, or add it to ~/.ssh/config".to_owned())
}

pub(super) fn garbled(host: &str, bytes: &[u8]) -> String {
    let shown = quoted(&String::from_utf8_lossy(bytes));
    format!(
        "{host} answers something else than was asked of it: {shown}: is there a forced command in its authorized_keys?"
    )
}

pub(super) fn busy(host: &str, pid: &str, ending: &str) -> String {
    format!(
        "an earlier attempt of this step still runs on {host} (process {pid} there), and two never run at once: wait for its \
         end, or end it: ssh {host} {ending}"
    )
}

/// `state`: the folder there.
pub(super) fn forgotten(host: &str, state: &str) -> String {
    format!(
        "{host} does not know the step any more that it was given, so what it came to is not known, and it may still run: \
         does the name lead to another machine now, or was {} removed there?",
        quoted(state)
    )
}

pub(super) fn another_machine(host: &str) -> String {
    format!(
        "another machine answers as {host} now, or its state folder was removed: it is asked nothing, because the step may run \
         on the one before"
    )
}

/// Where to look for how an attempt ended.
pub(super) fn where_it_ended(host: &str, state: &str, attempt: &str) -> String {
    let file = quoted(&format!("{state}/attempts/{attempt}/end"));
    let plain = file.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain { format!("ssh {host} cat {file}") } else { format!("the file {file} on {host}") }
}

pub(super) fn lost(host: &str, rebooted: bool) -> String {
    match rebooted {
        true => format!("{host} was restarted while the step ran there, so what it came to is not known"),
        false => format!(
            "what watched the step on {host} was killed, so what it came to is not known; what was left of it there was ended"
        ),
    }
}

/// On one line, and not too long.
fn quoted(text: &str) -> String {
    let clean = one_line(text);
    if clean.chars().count() <= QUOTED_MAX {
        return clean;
    }
    clean.chars().take(QUOTED_MAX).chain("…".chars()).collect()
}

/// The end of it, where it says why.
fn last(text: &str) -> String {
    let clean = one_line(text);
    match clean.char_indices().rev().nth(QUOTED_MAX) {
        Some((from, _)) => format!("…{}", &clean[from..]),
        None => clean,
    }
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.chars().all(|c| c == '@'));
    let line = lines.collect::<Vec<_>>().join("; ");
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_said_with_the_command_that_shows_it() {
        let said = "No ED25519 host key is known for db1 and you have requested strict checking.\r\n\
                    Host key verification failed.\r\n";
        let told = broken("db1", &(said.to_owned(), String::new()));
        assert!(
            told.contains("No ED25519 host key is known") && told.contains("StrictHostKeyChecking=ask -- db1 true")
        );
        let changed =
            broken("db1", &("@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@".into(), "".into()));
        assert!(changed.contains("find out why") && !changed.contains("@@@@"), "{changed}");
    }

    #[test]
    fn a_long_banner_does_not_hide_what_went_wrong() {
        let told = broken("db1", &("Authorized use only. ".repeat(100) + "\nConnection reset by peer", String::new()));
        assert!(told.starts_with("ssh db1: …") && told.ends_with("use only.; Connection reset by peer"), "{told}");
        assert!(told.chars().count() < 450, "{told}");
    }

    #[test]
    fn other_words_are_quoted_and_drive_no_terminal() {
        let told = broken("db1", &("Connection refused\u{1b}[31m".into(), String::new()));
        assert_eq!(told, "ssh db1: Connection refused?[31m");
        assert!(broken("db1", &(String::new(), "This account is not available".into())).contains("login shell"));
    }
}
