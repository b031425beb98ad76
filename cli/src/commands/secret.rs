//! `runward secret`: the sealed secrets of this machine. What is changed is on the record of the ledger, without values.

use std::io::{IsTerminal, Read};

use runward_engine::limits;
use runward_store::{AdminEvent, SecretChange};
use runward_workers::mask::forms::WHOLE_BYTES_MIN;
use runward_workers::secrets::Value;
use runward_workers::secrets::sealed::{SealedError, Store};
use serde_json::json;

use super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{Format, SecretCommand};
use crate::ask;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{home, open};
use crate::text;

pub async fn run(config: &Config, command: SecretCommand) -> Result<i32, Failure> {
    let store = home(&config.settings)?.sealed();
    match command {
        SecretCommand::Set(args) => set(config, &store, &args.name).await,
        SecretCommand::List { format } => list(&store, format),
        SecretCommand::Rm(args) => {
            store.remove(&args.name).map_err(refused)?;
            print_line(&format!("removed {}", args.name));
            record(config, AdminEvent::SecretChanged { name: args.name, change: SecretChange::Removed }).await
        }
        SecretCommand::Rotate => {
            let secrets = store.rotate().map_err(refused)?;
            print_line(&format!("{} sealed under a new key", text::count(secrets as u64, "secret")));
            record(config, AdminEvent::SecretsRotated { secrets: secrets as u64 }).await
        }
    }
}

async fn set(config: &Config, store: &Store, name: &str) -> Result<i32, Failure> {
    let value = read(name)?;
    let done = store.set(name, &value, chrono::Utc::now().timestamp_millis(), &actor()).map_err(refused)?;
    if let Some(key) = &done.created {
        let key = key.display();
        print_line(&format!(
            "made the key {key}: keep a copy of it elsewhere, because nothing opens these secrets without it"
        ));
    }
    let verb = if done.replaced { "replaced" } else { "sealed" };
    print_line(&format!("{verb} {name} in {}", store.file.display()));
    record(config, AdminEvent::SecretChanged { name: name.to_owned(), change: SecretChange::Set }).await
}

/// From a pipe as it comes; from a person twice, without showing it.
fn read(name: &str) -> Result<Value, Failure> {
    let value = if std::io::stdin().is_terminal() { ask::for_secret(name)? } else { read_all()? };
    if value.line().is_empty() {
        return Err(Failure::usage(format!("nothing was given for {name}")).help(
            "write the value to standard input: `runward secret set NAME < file`, or answer on a terminal; nothing was changed",
        ));
    }
    if value.line().len() < WHOLE_BYTES_MIN {
        let problem = format!(
            "a secret has at least {WHOLE_BYTES_MIN} bytes: a shorter one cannot be masked in what steps print"
        );
        return Err(Failure::usage(problem).help("nothing was changed"));
    }
    Ok(value)
}

fn read_all() -> Result<Value, Failure> {
    let mut bytes = Vec::with_capacity(limits::SECRET_BYTES_MAX + 1);
    let read = std::io::stdin().lock().take(limits::SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    let value = Value::new(bytes);
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    if value.bytes().len() > limits::SECRET_BYTES_MAX {
        let max = runward_engine::units::format_size(limits::SECRET_BYTES_MAX as u64);
        return Err(Failure::usage(format!("a secret has at most {max}")).help("nothing was changed"));
    }
    Ok(value)
}

fn list(store: &Store, format: Format) -> Result<i32, Failure> {
    let (secrets, proven) = store.list().map_err(refused)?;
    match format {
        Format::Json => {
            let secrets: Vec<_> =
                secrets.iter().map(|(name, entry)| json!({"name": name, "set_at": entry.at, "by": entry.by})).collect();
            print_json(&json!({"file": store.file, "proven": proven, "secrets": secrets}));
        }
        Format::Text => {
            if secrets.is_empty() {
                print_line(&format!(
                    "no sealed secrets in {}: `runward secret set NAME` makes one",
                    store.file.display()
                ));
            }
            for (name, entry) in &secrets {
                print_line(&format!("{name:<32} {}  {}", text::time(entry.at), entry.by));
            }
            if !proven {
                print_line("the key is not here, so nothing proves that this list is as it was made");
            }
        }
    }
    Ok(0)
}

async fn record(config: &Config, event: AdminEvent) -> Result<i32, Failure> {
    let told = |failure: Failure| failure.also(&["it is done, but it could not be recorded in the ledger".to_owned()]);
    let opened = open(config).await.map_err(told)?;
    opened.ledger().administer(event, &actor()).await.map_err(|error| told(error.into()))?;
    Ok(0)
}

fn refused(error: SealedError) -> Failure {
    let help = match &error {
        SealedError::Io { .. } => "look at its owner, its mode and the room on its file system",
        SealedError::NoKey(_) => "bring the key that it was sealed with, or name another `secrets.file` to begin anew",
        SealedError::BadKey { .. } => {
            "the key belongs to the user of runward, and nobody else can read it: `chmod 0400`"
        }
        SealedError::OtherKey { .. } => {
            "name the right key: `secrets.key-file` in runward.toml, or RUNWARD_SECRETS_KEY_FILE"
        }
        SealedError::Tampered { .. } | SealedError::Damaged { .. } => {
            "bring back a copy of it; or remove it, set every secret anew, and change them where they are used"
        }
        SealedError::Unknown { .. } => "`runward secret list` shows them",
    };
    Failure::usage(error.to_string()).help(help)
}
