//! What the table of settings promises of itself.

use super::*;

fn text(setting: &Setting, words: &[&str]) -> Result<Value, String> {
    let mut settings = Settings::default();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    (setting.read)(&mut settings, &words).map(|()| (setting.show)(&settings))
}

#[test]
fn every_choice_reads_as_it_shows() {
    for setting in SETTINGS {
        if let Takes::Choice(words) = setting.takes {
            words.iter().for_each(|word| assert_eq!(text(setting, &[word]), Ok(json!(word)), "{}", setting.key));
        }
    }
}

#[test]
fn the_defaults_in_words_are_the_defaults() {
    for setting in SETTINGS {
        let plain = setting.default.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
        if let Some(plain) = plain.filter(|plain| !plain.contains('`')) {
            assert_eq!(text(setting, &[plain]), Ok((setting.show)(&Settings::default())), "{}", setting.key);
        }
    }
}

#[test]
fn keys_and_names_of_the_environment_are_said_once() {
    for (n, setting) in SETTINGS.iter().enumerate() {
        let double = |other: &&Setting| other.key == setting.key || other.env == setting.env;
        assert!(!SETTINGS[..n].iter().any(|other| double(&other)), "{}", setting.key);
        assert!(text(setting, &[""]).is_err(), "{} takes an empty text", setting.key);
    }
}
