//! The hash of a plan: what people agree to, and what a run of it answers to.
//!
//! SHA-256 over canonical JSON (keys sorted, no spaces) of the runbook's name, the hash of its definition and every
//! parameter. A sensitive value enters under a [`Seal`], a key that never leaves the ledger: the hash can be shown to
//! anybody, and whoever has only the hash cannot try values against it, however few there are. The same plan has the same
//! hash whenever it is made; on another ledger it has another one only where it has sensitive values.

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::definition::{hex, sha256};
use crate::runbook::model::Runbook;

/// The key of a ledger under which sensitive values enter hashes. It is kept where the values are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal([u8; Seal::BYTES]);

impl Seal {
    pub const BYTES: usize = 32;

    pub fn new(key: [u8; Seal::BYTES]) -> Seal {
        Seal(key)
    }

    /// HMAC-SHA256 (RFC 2104), in hexadecimal. The key is shorter than a block.
    pub fn digest(&self, text: &str) -> String {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(self.0).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text.as_bytes()).finalize();
        hex(&Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(...)")
    }
}

/// The hash of running the definition `hash` of `runbook` under this name with these parameters. Without a seal, sensitive
/// parameters are only named.
pub fn plan_hash(
    name: &str,
    hash: &str,
    runbook: &Runbook,
    params: &Map<String, Value>,
    seal: Option<&Seal>,
) -> String {
    let sensitive = |name: &str| runbook.params.iter().any(|param| param.sensitive && param.name == name);
    let (hidden, open): (Vec<_>, Vec<_>) = params.iter().partition(|(name, _)| sensitive(name));
    let sealed: Map<String, Value> = hidden
        .into_iter()
        .map(|(name, value)| {
            let text = canonical(&json!([name, value]));
            (name.clone(), seal.map_or(Value::Null, |seal| seal.digest(&text).into()))
        })
        .collect();
    let open: Map<String, Value> = open.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let plan = json!({"plan": 1, "name": name, "definition": hash, "params": open, "sealed": sealed});
    sha256(canonical(&plan).as_bytes())
}

/// JSON with sorted keys and no spaces, whatever order maps are kept in.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pair = |key: &String| format!("{}:{}", Value::from(key.as_str()), canonical(&map[key]));
            format!("{{{}}}", keys.into_iter().map(pair).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::parse;

    fn book() -> Runbook {
        let source = "params: {env: {}, nodes: {type: list}, pin: {sensitive: true}}\nsteps:\n  - \
                      cmd: [a, '${{ params.env }}', '${{ params.nodes | json }}', '${{ params.pin }}']\n";
        parse(source.as_bytes()).unwrap()
    }

    fn hash_of(params: &Value, seal: Option<&Seal>) -> String {
        plan_hash("demo", "d1", &book(), params.as_object().unwrap(), seal)
    }

    #[test]
    fn a_seal_is_hmac_sha256() {
        // RFC 4231, test case 1: the key is twenty bytes 0x0b, which zeros to the length of a block do not change.
        let mut key = [0; Seal::BYTES];
        key[..20].fill(0x0b);
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(Seal::new(key).digest("Hi There"), expected);
        assert_eq!(format!("{:?}", Seal::new(key)), "Seal(...)");
    }

    #[test]
    fn the_hash_is_of_everything_that_decides_what_runs() {
        let params = json!({"env": "prod", "nodes": ["a", "b"], "pin": "1234"});
        let seal = Seal::new([7; Seal::BYTES]);
        let one = hash_of(&params, Some(&seal));
        assert_eq!(one, hash_of(&params, Some(&seal)), "the same plan has the same hash");
        let mut all = vec![one];
        for (key, value) in [("env", json!("stage")), ("nodes", json!(["a,b"])), ("pin", json!("1235"))] {
            let mut other = params.clone();
            other[key] = value;
            all.push(hash_of(&other, Some(&seal)));
        }
        let map = params.as_object().unwrap();
        all.push(plan_hash("other", "d1", &book(), map, Some(&seal)));
        all.push(plan_hash("demo", "d2", &book(), map, Some(&seal)));
        all.push(hash_of(&params, Some(&Seal::new([8; Seal::BYTES]))));
        all.push(hash_of(&params, None));
        let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
    }

    #[test]
    fn without_the_seal_nothing_can_be_tried_against_the_hash() {
        let with = |pin: &str| hash_of(&json!({"env": "prod", "pin": pin}), None);
        assert_eq!(with("1234"), with("9999"));
        assert_ne!(with("1234"), hash_of(&json!({"env": "prod"}), None), "that there is one is no secret");
    }

    #[test]
    fn a_value_cannot_pass_for_a_sealed_one() {
        let source = "params: {m: {type: map}}\nsteps:\n  - cmd: [a, '${{ params.m | json }}']\n";
        let open = parse(source.as_bytes()).unwrap();
        let params = json!({"m": {"sealed": {}, "z": 1, "a": [true, null, "\""]}});
        let text = canonical(&params);
        assert_eq!(text, r#"{"m":{"a":[true,null,"\""],"sealed":{},"z":1}}"#);
        assert_ne!(
            plan_hash("n", "d", &open, params.as_object().unwrap(), None),
            plan_hash("n", "d", &open, &Map::new(), None)
        );
    }
}
