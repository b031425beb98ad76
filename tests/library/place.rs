//! The demo service and somebody who looks after it.

use runward_library::Stack;

use crate::operator::{Operator, Run};

pub struct Place {
    pub stack: Stack,
    pub operator: Operator,
}

impl Place {
    /// Nothing serves yet, and the database is empty.
    pub fn empty() -> Place {
        Place { stack: Stack::start(), operator: Operator::new() }
    }

    /// Blue serves 1.0.0, `current` is that, and 1.1.0 is there.
    pub fn serving() -> Place {
        let place = Place::empty();
        place.stack.first_release();
        place
    }

    /// Runs a runbook that wants `root` and `bin`, and these; expects this exit code.
    pub fn run(&self, code: i32, runbook: &str, more: &[(&str, &str)]) -> Run {
        let params = self.params(more);
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.operator.expect(code, runbook, &params)
    }

    pub fn params(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = [("root", self.stack.folder().to_owned()), ("bin", self.stack.bin())];
        let own = own.map(|(name, path)| (name.to_owned(), path.display().to_string()));
        own.into_iter().chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect()
    }

    /// So many ports that nobody has, each another one.
    pub fn ports<const N: usize>(&self) -> [u16; N] {
        let mut ports = Vec::new();
        while ports.len() < N {
            let port = self.stack.another_port();
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        ports.try_into().expect("so many")
    }

    pub fn saw(&self, rows: &str, run: &Run, step: &str) {
        self.operator.saw(rows, run, step);
    }

    /// What it says its version is, through nginx.
    pub fn version(&self) -> String {
        let (status, body) = self.stack.get("/health");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["version"].as_str().unwrap().to_owned()
    }
}
