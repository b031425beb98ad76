//! `${{ }}` in the host of a step: what the system's ssh is told to connect to.
//!
//! A host is one word of letters, digits and `. _ - : @ % + / [ ]`, and no option. ssh itself hands the name to programs that
//! its configuration names (`ProxyCommand`, `Match exec`), through a shell: so nothing that means something to a shell ever
//! stands in it. A value beside text of the author is a part of a name and cannot name another user or another port.

use super::expression::EvalError;
use super::template::Part;
use super::{Context, Template};

/// Longer than any name of a host with a user.
const BYTES_MAX: usize = 320;

/// The host with its values in place.
pub fn bind(template: &Template, context: &Context) -> Result<String, EvalError> {
    let alone = template.parts.len() == 1;
    let mut host = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => host.push_str(text),
            Part::Value { expression, .. } => {
                let value = expression.evaluate_text(context)?;
                let refused = if alone { refused(&value) } else { refused_part(&value) };
                if let Some(why) = refused {
                    let message = format!("is no host for ssh: {why}");
                    return Err(EvalError::Refused { expression: expression.source.clone(), message });
                }
                host.push_str(&value);
            }
        }
    }
    match refused(&host) {
        None => Ok(host),
        Some(why) => {
            let message = format!("would not name a host for ssh: {why}");
            Err(EvalError::Refused { expression: template.source(), message })
        }
    }
}

/// Why a whole text is no host.
pub fn refused(host: &str) -> Option<&'static str> {
    match host {
        "" => Some("it is empty"),
        _ if host.len() > BYTES_MAX => Some("it is longer than any name"),
        _ if host.starts_with('-') => Some("it begins with `-`, as an option does"),
        _ if !host.bytes().all(is_plain) => Some(PLAIN),
        _ => None,
    }
}

fn refused_part(value: &str) -> Option<&'static str> {
    match value {
        "" => Some("it is empty"),
        _ if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => None,
        _ => Some("beside other text it may have letters, digits, `.`, `_` and `-`"),
    }
}

const PLAIN: &str = "it may have letters, digits and `. _ - : @ % + / [ ]`";

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-:@%+/[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn host(template: &str, value: &str) -> Result<String, String> {
        let mut context = Context::default();
        context.set("params", json!({"h": value}));
        bind(&Template::parse(template).unwrap(), &context).map_err(|error| error.to_string())
    }

    #[test]
    fn names_users_and_addresses_arrive_as_they_are() {
        for good in ["db1", "deploy@db1.example.com", "ssh://me@db1:2222", "::1", "fe80::1%eth0", "a_b-c+d"] {
            assert_eq!(host("${{ params.h }}", good), Ok(good.to_owned()));
        }
        assert_eq!(host("deploy@${{ params.h }}.example.com", "db-1"), Ok("deploy@db-1.example.com".into()));
    }

    #[test]
    fn what_a_shell_or_ssh_would_obey_is_refused() {
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "`x`", "a\nb", "a'b", "a\"b", "a|b", "a\\b", "ä", "*"]
        {
            let error = host("${{ params.h }}", bad).unwrap_err();
            assert!(error.contains("is no host for ssh"), "{bad}: {error}");
        }
        for bad in ["root@evil", "db:22", "a/b", "", "-x y"] {
            assert!(host("deploy@${{ params.h }}", bad).is_err(), "{bad}");
        }
        assert!(host("${{ params.h }}db", "-o").unwrap_err().contains("begins with `-`"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_passes_is_one_harmless_word(value in ".{0,12}") {
            if let Ok(host) = host("${{ params.h }}", &value) {
                assert!(host == value && !host.starts_with('-') && host.bytes().all(is_plain));
            }
        }
    }
}
